"""Config -> objects, and a checkpoint -> a network: what a component refuses is said with its key, foreign code never
runs."""

import copy
import re
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.build import (
    build,
    build_augment,
    build_corpus,
    build_network,
    load_checkpoint,
    loss_from_checkpoint,
    network_from_checkpoint,
)
from speakerlab.config import check
from speakerlab.data.clip_folders import assumed_clips, clips_below
from speakerlab.data.corpus import Corpus
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.fusion.fusion import Fusion
from speakerlab.network import left_out

NETWORK = {
    "loader": {"sample_rate": 16000},
    "features": {"_target_": "speakerlab.features.fbank.Fbank", "num_mels": 8},
    "frames": {},
    "norm": {"_target_": "speakerlab.features.norm.mean.MeanNorm"},
    "pooling": {"_target_": "speakerlab.encoders.pooling.statistics.Statistics"},
    "model": {
        "encoder": {
            "_target_": "speakerlab.encoders.ecapa.Ecapa",
            "channels": 16,
            "pooled_channels": 24,
            "embed_dim": 8,
            "dilations": [2, 3],
        }
    },
}


@pytest.fixture
def checkpoint() -> dict:
    torch.manual_seed(0)
    weights = build_network(NETWORK).state_dict()
    return {
        "config": copy.deepcopy(NETWORK),
        "speakers": ["a", "b"],
        "state_dict": {f"network.{name}": value for name, value in weights.items()}
        | {"loss.classifier.weight": torch.zeros(2, 8)},
    }


def test_wired_arguments():
    encoder = build(NETWORK["model"]["encoder"], "model.encoder", feature_dim=8, pooling=Statistics)
    assert encoder.stem.conv.in_channels == 8 and len(encoder.blocks) == 2
    shallow = OmegaConf.create(NETWORK["model"]["encoder"] | {"dilations": [4]})
    assert len(build(shallow, "model.encoder", feature_dim=8, pooling=Statistics).blocks) == 1


def test_a_components_complaint_names_the_key():
    node = NETWORK["model"]["encoder"] | {"channels": 17}
    with pytest.raises(InputError, match=r"^model\.encoder: channels=17 must be a multiple of scale=8$"):
        build(node, "model.encoder", feature_dim=8, pooling=Statistics)
    with pytest.raises(InputError, match=r"^loss: "):  # two sizes are missing
        build({"_target_": "speakerlab.losses.aam.AamSoftmax"}, "loss")


class PoolsByItself(torch.nn.Module):
    def __init__(self, feature_dim: int):
        super().__init__()
        self.embed_dim = feature_dim


def test_an_encoder_and_its_pooling_must_fit():
    with pytest.raises(InputError, match=r"^pooling=none: speakerlab\.encoders\.ecapa\.Ecapa needs a pooling"):
        build_network(NETWORK | {"pooling": {}})
    own = f"{PoolsByItself.__module__}.PoolsByItself"
    with pytest.raises(InputError, match=r"^pooling: .*PoolsByItself takes none; use pooling=none"):
        build_network(NETWORK | {"model": {"encoder": {"_target_": own}}}, (own,))


@pytest.mark.parametrize("target", ["os.system", "torch.load", "torch.hub.load", "speakerlab.losses.aam.torch.load"])
def test_only_known_targets_are_built(target):
    with pytest.raises(Exception, match=r"whitelist"):
        build({"_target_": target}, "loss")


def augment_config(compose, *overrides: str):
    cfg, choices = compose(*overrides)
    return check(cfg, "train", choices).augment


def write_noise(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.full(1000, 0.1), 16000)
    return folder


def test_augmentations_need_their_folder(compose, tmp_path):
    augment = augment_config(compose, "augment=noise", f"augment.noise_dir={tmp_path / 'nowhere'}")
    for find_clips in (assumed_clips, partial(clips_below, cache_dir=tmp_path / "cache")):
        with pytest.raises(InputError, match=r"augment\.waveform\.noise\.folder=.*nowhere.* no such folder"):
            build_augment(augment, 16000, find_clips)


def test_a_recipe_says_what_it_found_and_what_is_off(compose, tmp_path):
    folder = write_noise(tmp_path / "noise", "a.wav", "b/c.flac")
    (folder / "broken.wav").write_bytes(b"RIFF")
    (folder / "empty.wav").write_bytes(b"")
    augment = augment_config(compose, "augment=voxceleb", f"augment.noise_dir={folder}")
    recipe = build_augment(augment, 16000, partial(clips_below, cache_dir=tmp_path / "cache"))
    found, off = recipe.notes
    assert re.fullmatch(
        r"augment\.waveform\.one_of\.augmentations\.noise: 2 files in \S+noise; "
        r"2 more can't be read \(such as broken\.wav: .+\)",
        found,
    )
    assert off.startswith("off") and "augmentations.music" in off and "augmentations.babble" in off
    assert list(recipe.waveform.augmentations["one_of"].augmentations) == ["reverb", "noise"]
    assert recipe.class_names(["a"]) == ["a", "a x0.9", "a x1.1"]


def test_a_choice_of_nothing_is_off(compose):
    overrides = ("augment=voxceleb", "augment.waveform.one_of.augmentations.reverb=null")
    recipe = build_augment(augment_config(compose, *overrides), 16000, assumed_clips)
    assert recipe.waveform.augmentations == {}
    assert recipe.notes == ("off, being null or without a folder: augment.waveform.one_of",)


@pytest.mark.parametrize(
    "group, key",
    [("noise", "waveform.noise"), ("voxceleb", "waveform.one_of.augmentations.music")],
)
def test_settings_are_checked_of_what_lacks_its_folder(compose, group, key):
    augment = augment_config(compose, f"augment={group}", f"augment.{key}.snr_db=[15,0]")
    with pytest.raises(InputError, match=rf"^augment\.{re.escape(key)}: snr_db=\[15, 0\]"):
        build_augment(augment, 16000, assumed_clips)


def test_an_alternatives_complaint_names_its_key(compose):
    augment = augment_config(
        compose, "augment=heavy", "augment.waveform.channel.augmentations.clipping.threshold_db=[1,2]"
    )
    with pytest.raises(InputError, match=r"^augment\.waveform\.channel\.augmentations\.clipping: threshold_db="):
        build_augment(augment, 16000, assumed_clips)


def test_a_checkpoint_gives_its_network_back(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "x.ckpt")
    network = network_from_checkpoint(load_checkpoint(tmp_path / "x.ckpt"))
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][f"network.{name}"])


def test_a_checkpoint_that_fits_no_network_says_so(checkpoint):
    other = checkpoint | {"config": copy.deepcopy(NETWORK)}
    other["config"]["model"]["encoder"]["channels"] = 32
    with pytest.raises(InputError, match=r"weights do not fit .*size mismatch.*another version"):
        network_from_checkpoint(other)
    del other["config"]["features"]
    with pytest.raises(InputError, match=r"config lacks features"):
        network_from_checkpoint(other)


def test_a_branch_that_was_left_out_is_not_built(compose, tmp_path):
    """Sincnet's 22 million weights are many times those of the fusion, which are all that this checkpoint has."""
    cfg = compose("model=fusion")[0]
    cfg.data = {"_target_": "speakerlab.data.corpora.embeddings.EmbeddingsCorpus"}
    fusion = Fusion([256, 256], embed_dim=16)
    contents = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "speakers": ["a"],
        "left_out": {"sincnet": 256, "mel_cnn": 256},
        "state_dict": {f"network.fusion.{name}": value for name, value in fusion.state_dict().items()},
    }
    contents["config"]["model"]["fusion"]["embed_dim"] = 16
    torch.save(contents, tmp_path / "x.ckpt")
    network = network_from_checkpoint(load_checkpoint(tmp_path / "x.ckpt"), for_audio=False)
    assert left_out(network) == contents["left_out"] and sum(p.numel() for p in network.branches.parameters()) == 0
    parts = [torch.randn(3, 256), torch.randn(3, 256)]
    assert torch.equal(network.fuse(parts), fusion.eval()(parts))
    with pytest.raises(InputError, match="holds no trained network for audio"):
        network_from_checkpoint(contents)
    with pytest.raises(InputError, match="this branch's network was left out"):
        network(torch.zeros(1, 16000))
    alone = OmegaConf.to_container(compose("model=sincnet")[0], resolve=True)
    one = network_from_checkpoint({"config": alone, "left_out": {"": 2048}, "state_dict": {}}, for_audio=False)
    assert one.embed_dim == 2048 and torch.equal(one.fuse(parts[:1]), parts[0])
    for sizes in ([], {"sincnet": 0}, {"sincnet": 1 << 40}, {"sincnet": "256"}):
        torch.save(contents | {"left_out": sizes}, tmp_path / "bad.ckpt")
        with pytest.raises(InputError, match=r"bad\.ckpt is damaged: what it left out has no sizes"):
            load_checkpoint(tmp_path / "bad.ckpt")


class Payload:
    """Pickled code: touches a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_bad_checkpoint_files(tmp_path, checkpoint):
    torch.save(checkpoint, tmp_path / "good.ckpt")
    whole = (tmp_path / "good.ckpt").read_bytes()
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    torch.save(checkpoint | {"extra": Payload(tmp_path / "ran")}, tmp_path / "evil.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with zipfile.ZipFile(tmp_path / "zip.ckpt", "w") as archive:
        archive.writestr("a", "b")
    for name in ("foreign", "list", "evil", "cut", "empty", "text", "zip", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.ckpt") as caught:
            load_checkpoint(tmp_path / f"{name}.ckpt")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "place, value",
    [
        (["features", "_target_"], "os.system"),
        (["features", "_target_"], "torch.load"),
        (["features", "_target_"], "speakerlab.encoders.ecapa.torch.load"),
        (["features", "_target_"], "speakerlab.data.corpora.mini.MiniCorpus"),
        (["features", "num_mels"], {"_target_": "os.mkdir", "path": "RAN"}),
        (
            ["features", "num_mels"],
            {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "RAN"},
        ),
        (["model", "encoder", "_target_"], "pytorch_lightning.Trainer"),
        (["model", "encoder", "dilations"], [{"_target_": "os.mkdir", "path": "RAN"}]),
        (["model", "encoder", "dilations"], [[{"deep": {"_target_": "os.mkdir", "path": "RAN"}}]]),
        (["norm", "_target_"], "os.system"),
        (["pooling", "_target_"], "os.system"),
        (["model", "other"], {"_target_": "os.mkdir", "path": "RAN"}),
    ],
)
def test_a_checkpoints_config_names_features_and_encoders_alone(tmp_path, monkeypatch, checkpoint, place, value):
    monkeypatch.chdir(tmp_path)
    node = checkpoint["config"]
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    with pytest.raises(InputError, match=r"the checkpoint names \S+, which is neither a feature nor an encoder"):
        network_from_checkpoint(checkpoint)
    assert not list(tmp_path.iterdir())


AAM = {"_target_": "speakerlab.losses.aam.AamSoftmax", "margin": 0.3, "scale": 20.0, "easy_margin": False}


def test_a_checkpoint_gives_its_loss_back(tmp_path, checkpoint):
    checkpoint["config"] |= {"loss": AAM, "regulariser": {"loss": None}}
    weight = torch.randn(6, 8)
    checkpoint["speakers"] = list("abcdef")
    checkpoint["state_dict"]["loss.classifier.weight"] = weight
    torch.save(checkpoint, tmp_path / "x.ckpt")
    loss = loss_from_checkpoint(load_checkpoint(tmp_path / "x.ckpt"), 8)
    assert torch.equal(loss.classifier.weight, weight) and not loss.training
    assert (loss.margin, loss.scale) == (0.3, 20.0)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"loss": {"_target_": "torch.load"}},
            r"the checkpoint names torch\.load, which is no loss of speakerlab",
        ),
        (
            {"loss": NETWORK["features"]},
            r"names speakerlab\.features\.fbank\.Fbank, which is no loss",
        ),
        (
            {"loss": AAM | {"margin": [{"_target_": "os.mkdir"}]}},
            r"names os\.mkdir, which is no loss",
        ),
        ({}, "the checkpoint's config lacks loss"),
        ({"loss": AAM}, "weights do not fit the loss of its config"),
    ],
)
def test_a_checkpoints_loss_must_be_one(checkpoint, changes, message):
    checkpoint["config"] |= {"regulariser": {"loss": None}} | changes
    checkpoint["speakers"] = ["a", "b", "c"]  # one more than the weights have
    with pytest.raises(InputError, match=message):
        loss_from_checkpoint(checkpoint, 8)


class OpenCorpus:
    """A loader of one's own that knows nothing of tasks."""

    def load(self, progress=None) -> Corpus:
        return Corpus(pa.table({}), None, [])


def test_identification_needs_utterances_of_known_speakers(compose):
    mine = f"{OpenCorpus.__module__}.OpenCorpus"
    for task, refused in (("verification", False), ("identification", True)):
        cfg, choices = compose(f"task={task}")
        cfg.data = {"_target_": mine}
        cfg = check(cfg, "train", choices, (mine,))
        if refused:
            with pytest.raises(
                InputError, match="task=identification tells training speakers apart .*data=folder, voxceleb1"
            ):
                build_corpus(cfg, (mine,))
        else:
            assert build_corpus(cfg, (mine,)).trials is None
