"""A typo stops with the key, the file and the nearest right name."""

import pytest
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.config import check, check_hears


@pytest.fixture
def refusal(compose):
    """The message with which a command line's config is refused."""

    def of(*overrides: str, trust: tuple[str, ...] = (), config_name: str = "train") -> str:
        cfg, choices = compose(*overrides, config_name=config_name)
        with pytest.raises(InputError) as caught:
            check(cfg, config_name, choices, trust)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return of


@pytest.mark.parametrize(
    "overrides, expected",
    [
        # a key
        (["+ckptt=last"], ["'ckptt'", "did you mean ckpt?"]),
        (["+modle=ecapa"], ["'modle'", "did you mean model?"]),
        (["+zzz=1"], ["'zzz'"]),
        (["+loader.crops=2"], ["loader", "crops"]),
        (["+augment.noise=x"], ["augment", "noise"]),
        # an argument of a target: its file, and the nearest
        (["+loss.margins=0.1"], ["loss.margins", "'margins'", "conf/loss/aam.yaml", "did you mean margin?"]),
        (["+model.encoder.chanels=8"], ["model.encoder.chanels", "conf/model/ecapa.yaml", "did you mean channels?"]),
        (["+trainer.max_epoch=8"], ["trainer.max_epoch", "conf/trainer/auto.yaml", "did you mean max_epochs?"]),
        (["+optimizer.learning_rate=1"], ["optimizer.learning_rate", "conf/optimizer/adamw.yaml"]),
        (["+callbacks.checkpoints.every=1"], ["callbacks.checkpoints.every", "did you mean every_epoch?"]),
        (["augment=specaugment", "+augment.spectrum.specaugment.masks=1"], ["augment.spectrum.specaugment.masks"]),
        # a type
        (["seed=one"], ["seed", "one"]),
        (["compile=perhaps"], ["compile", "perhaps"]),
        (["loader.num_workers=1.5"], ["loader.num_workers", "1.5"]),
        (["loss.margin=wide"], ["loss.margin='wide'", "must be float", "conf/loss/aam.yaml"]),
        (["model.encoder.channels=8.5"], ["model.encoder.channels=8.5", "must be int"]),
        (["loss.easy_margin=1"], ["loss.easy_margin=1", "must be bool"]),
        (["callbacks.verification.every_n_epochs=true"], ["callbacks.verification.every_n_epochs", "must be int"]),
        (["data=folder", "data.root=x", "data.trials=[a,b]"], ["data.trials", "must be str or null"]),
        # nothing where something must be
        (["data=folder"], ["data.root must be given", "data.root=..."]),
        (["~loss", "name=x"], ["loss is missing", "~loss"]),
        (["~frames"], ["frames is missing", "~frames"]),
        (["ckpt="], ["ckpt= is empty"]),
        (["fine_tuning.ckpt="], ["fine_tuning.ckpt must be given"]),
        # a list, or what is none
        (["data=folder", "data.root=3"], ["data.root=3 must be str or list of str"]),
        (["data=folder", "data.root=[a,3]"], ["data.root=['a', 3] must be str or list of str"]),
        (["optimizer.lr=abc"], ["optimizer.lr='abc' must be float ("]),
        (["optimizer.betas=3"], ["optimizer.betas=3 must be [float, float]"]),
        (["optimizer.betas=[0.9]"], ["optimizer.betas=[0.9] must be [float, float]"]),
        (["model.encoder.dilations=[1,x]"], ["model.encoder.dilations=[1, 'x'] must be list of int"]),
        # a target
        (["loss._target_=os.system"], ["loss._target_", "os.system", "not a class that a config may name"]),
        (["loss._target_=torch.load"], ["loss._target_", "torch.load"]),
        (["loss._target_=speakerlab.losses.aam.torch.load"], ["loss._target_", "torch.load"]),
        (["loss._target_=speakerlab.losses.aam.AmSoftmax"], ["did you mean speakerlab.losses.aam.AamSoftmax?"]),
        # the nearest of the same group
        (["model.encoder._target_=speakerlab.losses.aam.Aam"], ["did you mean speakerlab.encoders.ecapa.Ecapa?"]),
        (["model.encoder._target_=torch.optim.Adan"], ["trust=[torch.optim.Adan]"]),
        (["+callbacks.mine._target_=abc.def.Ghi"], ["callbacks.mine._target_", "trust=[abc.def.Ghi]"]),
        # a value that points nowhere
        (["loss.margin=${nowhere}"], ["loss.margin", "nowhere"]),
    ],
)
def test_refused(refusal, overrides, expected):
    message = refusal(*overrides)
    assert all(part in message for part in expected), message


def test_evaluation_is_checked_too(refusal):
    assert "ckpt must be given" in refusal(config_name="evaluate")
    assert "did you mean trials?" in refusal("ckpt=x", "+trial=y", config_name="evaluate")
    assert "num_workers" in refusal("ckpt=x", "num_workers=two", config_name="evaluate")


def test_trust_admits_a_target(compose):
    overrides = ["optimizer._target_=torch.optim.Adadelta", "~optimizer.betas", "~optimizer.fused"]
    cfg, choices = compose(*overrides)
    with pytest.raises(InputError, match=r"torch\.optim\.Adadelta"):
        check(cfg, "train", choices)
    for trust in ("torch.optim.Adadelta", "torch.optim.*"):
        cfg, choices = compose(*overrides)
        assert check(cfg, "train", choices, (trust,)).optimizer._target_ == "torch.optim.Adadelta"


def test_trust_is_exact(refusal):
    overrides = ["optimizer._target_=torch.optim.Adadelta"]
    for trust in ("torch.optim", "torch.optim.Ada", "torch.optim.Adadelta.x", "torch.opt.*"):
        assert "torch.optim.Adadelta" in refusal(*overrides, trust=(trust,))


def test_a_config_cannot_trust_itself(refusal):
    """Only the command line's `trust=` reaches `check`; see speakerlab.cli.launch."""
    assert "Adadelta" in refusal("optimizer._target_=torch.optim.Adadelta", "trust=[torch.optim.Adadelta]")


def test_trusted_names_must_exist(refusal):
    assert "can't be imported" in refusal("loss._target_=nowhere.Loss", trust=("nowhere.Loss",))


def test_defaults_pass_and_get_their_types(compose):
    cfg, choices = compose("seed=7", "compile=true", "threads=null", "ckpt=last")
    cfg = check(cfg, "train", choices)
    assert (cfg.seed, cfg.compile, cfg.threads, cfg.ckpt) == (7, True, None, "last")
    assert cfg.name == "ecapa_aam"


def test_augmentations_need_no_folder(compose, tmp_path):
    cfg, choices = compose("augment=noise", f"augment.noise_dir={tmp_path}")
    waveform = check(cfg, "train", choices).augment.waveform
    assert waveform.noise.folder == str(tmp_path)
    assert waveform.music.folder is None and waveform.reverb.folder is None


@pytest.mark.parametrize(
    "overrides, key, member",
    [
        ([], "noise_dir", "noise"),
        (["augment=specaugment"], "rir_dir", "reverb"),
        (["augment=noise"], "babble_dir", "babble"),
        (["augment=noise", "augment.waveform.music=null"], "music_dir", "music"),
    ],
)
def test_a_folder_that_no_augmentation_reads_is_refused(refusal, tmp_path, overrides, key, member):
    assert refusal(*overrides, f"augment.{key}={tmp_path}") == (
        f"augment.{key}={tmp_path}: no augmentation that is on reads it; add augment=voxceleb or "
        f"+augment/waveform={member}, or take augment.{key} away"
    )


def test_a_folder_is_read_by_whatever_names_it(compose, tmp_path):
    for added in ("+augment/waveform=noise", "augment=voxceleb"):  # what the refusal advises
        cfg, choices = compose(added, f"augment.noise_dir={tmp_path}")
        assert check(cfg, "train", choices).augment.noise_dir == str(tmp_path)


def test_an_empty_config_is_refused():
    with pytest.raises(InputError):
        check(OmegaConf.create({"nothing": 1}), "train", {})


@pytest.mark.parametrize(
    "target, branches, tuning, deaf",
    [
        ("mini.MiniCorpus", {"a": None, "b": None}, {}, None),
        ("embeddings.EmbeddingsCorpus", {"a": None, "b": None}, {}, "a, b"),
        ("embeddings.EmbeddingsCorpus", {"a": "a.ckpt", "b": None}, {"ckpt": None, "load": ["network"]}, "b"),
        ("embeddings.EmbeddingsCorpus", {"a": "a.ckpt", "b": "b.ckpt"}, {}, None),
        ("embeddings.EmbeddingsCorpus", {"a": None, "b": None}, {"ckpt": "x.ckpt", "load": ["network"]}, None),
        ("embeddings.EmbeddingsCorpus", {"a": None, "b": None}, {"ckpt": "x.ckpt", "load": ["loss"]}, "a, b"),
        ("embeddings.EmbeddingsCorpus", None, {}, "the network"),
    ],
)
def test_networks_that_were_never_trained_hear_nothing(target, branches, tuning, deaf):
    model = {"encoder": {}} if branches is None else {"branches": {key: {"ckpt": one} for key, one in branches.items()}}
    config = {"data": {"_target_": f"speakerlab.data.corpora.{target}"}, "model": model, "fine_tuning": tuning}
    if deaf is None:
        check_hears(config)
        return
    with pytest.raises(InputError, match=rf"on saved embeddings and holds no trained network for audio \({deaf}\)"):
        check_hears(config)
