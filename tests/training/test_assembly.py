"""What a value out of range says, before any data is read."""

import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.build import build, build_corpus, build_network
from speakerlab.config import check
from speakerlab.training.assembly import build_datamodule, build_system, build_trainer, try_components
from speakerlab.training.compiling import Compiling


@pytest.mark.parametrize(
    "override, message",
    [
        ("model.encoder.channels=12", r"model\.encoder: channels=12"),
        ("features.low_hz=9000", r"features: low_hz=9000"),
        ("loss.margin=4", r"loss: margin=4"),
        ("sampler.batch_size=1", r"sampler: batch_size=1"),
        ("scheduler.warmup_epochs=-1", r"scheduler: warmup_epochs=-1"),
        ("margin.end=2", r"margin: start=0.0 and end=2"),
        ("optimizer.lr=-1", r"optimizer: .*-1"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0"),
        ("trainer.max_epochs=null", r"trainer\.max_epochs=None"),
        ("loader.crop_seconds=0", r"loader\.crop_seconds=0"),
        ("+augment/waveform=gain augment.waveform.gain.gain_db=[1,0]", r"augment\.waveform\.gain: gain_db=\[1, 0\]"),
        ("+augment/speed=perturbation augment.speed.factors=[0.9]", r"augment\.speed: factors=\[0\.9\] must include"),
        ("+augment/mixup=mixup augment.mixup.alpha=0", r"augment\.mixup: alpha=0"),
        ("+augment/mixup=mixup loader.crop_seconds=null", r"augment\.mixup needs items of equal length"),
        ("augment=noise augment.noise_dir=/nowhere", r"augment\.waveform\.noise\.folder=/nowhere: there is no"),
        ("loader.num_workers=-1", r"loader\.num_workers=-1"),
        ("loader.cache=flac", r"loader\.cache=flac must be pcm or null"),
        ("loader.crop_seconds=nan", r"loader\.crop_seconds=nan must lie in 0\.1 to 3600"),
        ("loader.crop_seconds=inf", r"loader\.crop_seconds=inf"),
        ("loader.sample_rate=100", r"loader\.sample_rate=100 must lie in 8000"),
        ("loader.num_workers=1000", r"loader\.num_workers=1000 must lie in 0 to \d+ on this machine"),
        ("model.encoder.dilations=[]", r"model\.encoder: dilations=\[\]"),
        ("model.encoder.dilations=[0,1,2]", r"model\.encoder: dilations=\[0, 1, 2\]"),
        ("trainer.log_every_n_steps=0", r"trainer\.log_every_n_steps=0"),
        ("trainer.gradient_clip_val=nan", r"trainer\.gradient_clip_val=nan"),
        ("trainer.gradient_clip_val=inf", r"trainer\.gradient_clip_val=inf"),
        ("loss.scale=nan", r"loss: scale=nan must be positive"),
        ("loss.scale=inf", r"loss: scale=inf"),
        ("scheduler.warmup_epochs=nan", r"scheduler: warmup_epochs=nan"),
        ("features=mfcc features.lifter=nan", r"features: lifter=nan"),
        ("norm=pcen norm.gain=nan", r"norm: gain=nan"),
        ("norm=pcen features=mfcc", r"^norm: PCEN takes natural logarithms of energies alone: features=fbank"),
        ("norm=pcen features=spectrogram", r"^norm: PCEN takes natural logarithms"),
        ("norm=pcen frames=deltas", r"^norm: PCEN takes .* no frames\.deltas"),
        ("sampler=length_bucketed sampler.max_seconds=nan", r"sampler: max_seconds=nan"),
        ("features.num_mels=500", r"features: num_mels=500 leaves filters empty; at most 1\d\d fit"),
        ("features=mel_spectrogram features.num_mels=500", r"features: num_mels=500 leaves filters empty; at most"),
        ("features=mfcc features.num_mels=500", r"features: num_mels=500 leaves filters empty; at most 1\d\d fit"),
        ("loader.max_bad_share=2", r"loader\.max_bad_share=2.0 must lie in 0 to 1"),
        ("loss=triplet loss.mining=semihard", r"loss: mining=semihard must be one of semi_hard, hardest, all"),
        ("loss=weighted_sum loss.losses.aam.margin=4", r"loss\.losses\.aam: margin=4 must be between"),
        ("loss=weighted_sum loss.losses.aam=softmax", r"given by loss@loss\.losses\.aam=softmax$"),
        ("loss=weighted_sum +loss@loss.losses.a=supcon", r"loss: losses\.a has no weight: give weights\.a"),
        ("loss=weighted_sum ~loss.losses.aam", r"loss: weights\.aam is for no loss: there are angular_prototypical"),
        ("regulariser=center regulariser.weight=0", r"regulariser\.weight=0\.0 must be positive; regulariser=none"),
        ("regulariser=center regulariser.optimizer=null", r"regulariser\.optimizer can't be null"),
        ("regulariser=center regulariser.optimizer.lr=-1", r"regulariser\.optimizer: .*-1"),
        (
            "loss=supcon sampler=hard_speakers sampler.utterances_per_speaker=2",
            "sampler=hard_speakers needs a loss with weights",
        ),
        ("regulariser=contrastive_center regulariser.loss.delta=0", r"regulariser\.loss: delta=0 must be positive"),
        ("model=fusion model.fusion.kind=sum", r"^model\.fusion: kind=sum must be softmax, gated, cross_attention, "),
        (
            "model=fusion model.branches.mel_cnn.overrides=[model=mel_cnn,model.encoder.dropout=1]",
            r"^model\.branches\.mel_cnn\.model\.encoder: dropout=1 must lie in 0 to below 1",
        ),
        (
            "model=fusion model.branches.mel_cnn.overrides=[model=mel_cnn,pooling=none]",
            r"^model\.branches\.mel_cnn\.pooling=none: .* needs a pooling",
        ),
        (
            "model=fusion model.branches.mel_cnn.overrides=[model=mel_cnn,frames.pad=x]",
            r"^model\.branches\.mel_cnn\.frames: pad=x must be wrap or zero",
        ),
        ("fine_tuning.unfreeze_epoch=3", r"^fine_tuning\.unfreeze_epoch=3: fine_tuning\.freeze names nothing"),
        ("callbacks.early_stopping.patience=0", r"^callbacks\.early_stopping: patience=0 must be at least 1, or null"),
        ("callbacks.ema.decay=2", r"^callbacks\.ema: decay=2 must lie between 0 and 1"),
    ],
)
def test_out_of_range_values_stop_before_any_data(compose, override, message):
    cfg, choices = compose(*override.split())
    with pytest.raises(InputError, match=message):
        try_components(check(cfg, "train", choices))


def test_every_voice_of_a_speaker_is_a_class(compose, folders, tiny):
    cfg, choices = compose(*folders.overrides(), *tiny, "augment=voxceleb")
    cfg = check(cfg, "train", choices)
    data = build_datamodule(cfg, build_corpus(cfg))
    system = build_system(cfg, data)
    own = [f"s{i}" for i in range(6)]
    assert system.speakers == [f"{speaker}{suffix}" for suffix in ("", " x0.9", " x1.1") for speaker in own]
    assert len(system.loss.classifier.weight) == 18
    labels = np.array([data.dataset[0, position, position % 24]["speaker"] for position in range(100)])
    speakers = [system.speakers[label].split()[0] for label in labels]
    assert speakers == [own[data.items.speakers[position % 24]] for position in range(100)]
    assert (np.bincount(labels // 6) > 20).all()


class Voices:
    """A speed perturbation, as far as the sampler is concerned."""

    def __init__(self, voices: int = 3):
        self.suffixes = tuple(f" v{voice}" for voice in range(voices))


@pytest.mark.parametrize(
    "sampler, voices, refused",
    [
        ("speakers_x_utterances", 3, True),
        ("hard_speakers", 3, True),
        ("speakers_x_utterances", 1, False),
        ("random", 3, False),
        ("speaker_balanced", 3, False),
    ],
)
def test_new_voices_would_break_up_groups_of_speakers(compose, sampler, voices, refused):
    target = f"{Voices.__module__}.Voices"
    cfg, choices = compose(f"sampler={sampler}", f"augment.speed={{_target_: {target}, voices: {voices}}}")
    cfg = check(cfg, "train", choices, (target,))
    if not refused:
        try_components(cfg, (target,))
        return
    with pytest.raises(InputError, match=rf"sampler={sampler} .* one of 3 voices .* set augment\.speed=null") as error:
        try_components(cfg, (target,))
    assert "\n" not in str(error.value)


METRIC = ("triplet", "contrastive", "prototypical", "angular_prototypical", "ge2e", "supcon", "weighted_sum")
TO_COMPARE = r"compares a speaker's utterances, 2 or more in a batch: give "
TO_COMPARE_BY_ANOTHER = TO_COMPARE + r"sampler=speakers_x_utterances sampler\.utterances_per_speaker=2$"
TO_COMPARE_MORE = TO_COMPARE + r"sampler\.utterances_per_speaker=2$"
MIXED = r"^augment\.mixup needs a loss that classifies; \w+ compares embeddings"


@pytest.mark.parametrize(
    "overrides, message",
    [
        *((f"loss={loss}", None) for loss in METRIC),
        *((f"loss={loss} sampler=random", TO_COMPARE_BY_ANOTHER) for loss in METRIC),
        *((f"loss={loss} +augment/mixup=mixup", MIXED) for loss in METRIC),
        ("loss=triplet sampler=length_bucketed", TO_COMPARE_BY_ANOTHER),
        ("loss=triplet sampler.utterances_per_speaker=1", TO_COMPARE_MORE),
        ("loss=weighted_sum sampler=hard_speakers", TO_COMPARE_MORE),
        ("loss=weighted_sum sampler=hard_speakers sampler.utterances_per_speaker=2", None),
        ("loss=triplet sampler=hard_speakers", "sampler=hard_speakers needs a loss with weights for each speaker"),
        ("loss=triplet regulariser=center", None),
        ("loss=triplet regulariser=center sampler=random", TO_COMPARE_BY_ANOTHER),
        ("regulariser=center +augment/mixup=mixup", None),
    ],
)
def test_losses_that_compare_need_their_batches(compose, overrides, message):
    cfg, choices = compose(*overrides.split())
    cfg = check(cfg, "train", choices)
    if message is None:
        try_components(cfg)
        return
    with pytest.raises(InputError, match=message) as error:
        try_components(cfg)
    assert "\n" not in str(error.value)


class Metric(torch.nn.Module):
    """A loss that compares embeddings and names nobody."""

    def __init__(self, embed_dim: int, num_speakers: int, margin: float = 0.2):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, embeddings, speakers):
        return (embeddings * self.weight).sum(), None


def test_only_a_new_run_takes_up_what_the_cache_could_not_read(compose, folders, tiny, tmp_path, monkeypatch):
    """A resumed run, and the second process of one, have the utterances that the first began with."""
    root = shutil.copytree(folders.train, tmp_path / "train")
    choices = [f"data.root={root}", "loader.cache=pcm", f"cache_dir={tmp_path / 'cache'}"]

    def utterances(*overrides: str) -> int:
        cfg, chosen = compose(*folders.overrides(), *tiny, *choices, *overrides)
        cfg = check(cfg, "train", chosen)
        return build_datamodule(cfg, build_corpus(cfg)).corpus.utterances

    spoiled = next(root.rglob("*.flac"))
    content = spoiled.read_bytes()
    spoiled.write_bytes(content[: len(content) // 8])  # the header is whole
    assert utterances() == 23
    spoiled.write_bytes(content)
    assert utterances("ckpt=last") == 23
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert utterances() == 23
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert utterances() == 24


def test_identification_needs_a_loss_that_names_speakers(compose):
    cfg, choices = compose("task=identification")
    try_components(check(cfg, "train", choices))
    mine = f"{Metric.__module__}.Metric"
    others = ("scale", "easy_margin", "subcenters", "top_k", "top_k_margin", "sampled_share")
    metric = [f"loss._target_={mine}", *(f"~loss.{name}" for name in others)]
    cfg, choices = compose("task=identification", *metric)
    with pytest.raises(
        InputError, match="task=identification needs a loss with logits, such as loss=aam; Metric gives"
    ):
        try_components(check(cfg, "train", choices, (mine,)), (mine,))
    cfg, choices = compose(*metric)
    try_components(check(cfg, "train", choices, (mine,)), (mine,))


@pytest.mark.parametrize("task", ["verification", "identification"])
def test_the_tasks_own_measurement_runs(compose, tmp_path, task):
    cfg, choices = compose(f"task={task}", "trainer=cpu")
    trainer = build_trainer(check(cfg, "train", choices), tmp_path, 0)
    names = [type(callback).__name__ for callback in trainer.callbacks]
    assert [name for name in names if name in ("Verification", "Identification")] == [task.capitalize()]
    assert names.index(task.capitalize()) < names.index("Progress") < names.index("Checkpoints")
    cfg, choices = compose(f"task={task}", f"callbacks.{task}=null")
    with pytest.raises(InputError, match=f"callbacks.{task} can't be null"):
        try_components(check(cfg, "train", choices))


SMALL_FRONT_END = [
    "model=wavlm_base_ecapa",
    *("model.encoder.width=32", "model.encoder.layers=1", "model.encoder.heads=2", "model.encoder.hidden=16"),
    *("model.encoder.conv_width=8", "model.encoder.channels=16", "model.encoder.pooled_channels=24"),
]


def test_weights_from_a_file_begin_a_new_run_alone(compose, folders, tmp_path):
    """They are checked before any data is read; a run that goes on has its own, and does without the file."""
    path = tmp_path / "front_end.pt"
    overrides = [*folders.overrides(), *SMALL_FRONT_END, "trainer=cpu", f"model.encoder.weights={path}"]

    def checked(*more: str):
        cfg, choices = compose(*overrides, *more)
        return check(cfg, "train", choices)

    cfg = checked()
    with pytest.raises(InputError, match=rf"^model\.encoder: weights={path}: there is no such file$"):
        try_components(cfg)
    try_components(checked("ckpt=last"))
    data = build_datamodule(cfg, build_corpus(cfg))
    assert build_system(cfg, data, resumed=True).notes == ()
    given = build_network(cfg).encoder.front_end.model.state_dict()
    torch.save(given, path)
    try_components(cfg)
    system = build_system(cfg, data)
    assert system.notes == (f"model.encoder: weights={path}: the front end's, in torchaudio's names",)
    found = system.network.encoder.front_end.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items())
    torch.save({"stem.weight": torch.ones(1)}, path)
    with pytest.raises(InputError, match=rf"^model\.encoder: weights={path} are of neither"):
        try_components(cfg)


def test_random_weights_of_a_front_end_are_said(compose, folders):
    cfg, choices = compose(*folders.overrides(), *SMALL_FRONT_END, "trainer=cpu")
    cfg = check(cfg, "train", choices)
    (note,) = build_system(cfg, build_datamodule(cfg, build_corpus(cfg))).notes
    assert note.startswith("model.encoder: weights=null: warning: the front end's weights are random")


def test_frozen_batch_norms_stay_where_processes_share_them(compose, folders, tiny, tmp_path, monkeypatch):
    """For several GPUs, torch puts another module in the place of each batch norm: that must come before freezing."""
    monkeypatch.setattr("speakerlab.training.hardware.has_gpu", lambda accelerator: True)
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
    cfg, choices = compose(*folders.overrides(), *tiny, *two, "fine_tuning.freeze_batch_norms=true")
    cfg = check(cfg, "train", choices)
    system = build_system(cfg, build_datamodule(cfg, build_corpus(cfg)))
    strategy = build_trainer(cfg, tmp_path, 0).strategy
    model = system if strategy._layer_sync is None else strategy._layer_sync.apply(system)
    norms = [m for m in model.network.encoder.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 2 and all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    model.train()
    model.network(torch.randn(4, 8000))
    changed = [not torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True)]
    assert changed == [False] * (len(norms) - 1) + [True]
    assert [norm.weight.requires_grad for norm in norms] == changed

    monkeypatch.undo()
    alone = build_system(cfg, build_datamodule(cfg, build_corpus(cfg)))
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in alone.modules())


def test_a_fraction_of_the_training_data_shares_the_cache(compose, folders, tiny, tmp_path):
    """Two of each speaker's four utterances, the same with and without the cache, which is made of all four once."""
    found = {}
    for name, overrides in {
        "files": [],
        "cached": ["loader.cache=pcm"],
        "all": ["loader.cache=pcm", "data.fraction=1"],
    }.items():
        given = [*folders.overrides(), *tiny, "data.fraction=0.5", f"cache_dir={tmp_path}", *overrides]
        cfg, choices = compose(*given)
        cfg = check(cfg, "train", choices)
        found[name] = build_datamodule(cfg, build_corpus(cfg))
    names = {name: data.corpus.train["utterance"].to_pylist() for name, data in found.items()}
    assert names["files"] == names["cached"] and len(names["all"]) == 24
    assert sorted(name[:2] for name in names["files"]) == [f"s{i}" for i in range(6) for _ in range(2)]
    assert len(list((tmp_path / "pcm").iterdir())) == 1
    assert any("data.fraction=0.5: training on 12 of 24 utterances" in note for note in found["cached"].corpus.notes)
    for row in range(12):
        expected, got = (found[name].recordings.read(row, 100, 200) for name in ("files", "cached"))
        np.testing.assert_array_equal(expected, got)
    assert found["files"].speakers == found["all"].speakers


def test_each_branch_of_a_fusion_is_begun_by_itself(compose, folders, tiny, tmp_path):
    """Statistics of the training set for a new one that wants them; a checkpoint's own for one that has some."""
    small = ["model=xvector", "model.encoder.channels=8", "model.encoder.pooled_channels=8", "norm=training_set"]
    words = [word for word in tiny if not word.startswith(("model", "pooling", "features"))]
    alone, _ = compose(*small)
    weights = {f"network.{name}": value for name, value in build_network(alone).state_dict().items()}
    weights["network.features.norm.mean"] += 7.0
    contents = {"config": OmegaConf.to_container(alone, resolve=False), "speakers": ["a"], "state_dict": weights}
    torch.save(contents, tmp_path / "old.ckpt")
    raw = "[model=sincnet,model.encoder.hidden=8]"
    branches = f"{{old: {{ckpt: {tmp_path / 'old.ckpt'}}}, new: {{overrides: {small}}}, raw: {{overrides: {raw}}}}}"
    given = [*folders.overrides(), *words, "model=fusion", f"model.branches={branches}", "augment=specaugment"]
    cfg, choices = compose(*given, "checkpoint_activations=true", "fine_tuning.freeze_batch_norms=true")
    cfg = check(cfg, "train", choices)
    try_components(cfg)
    system = build_system(cfg, build_datamodule(cfg, build_corpus(cfg)))
    old, new, raw = system.network.branches.values()
    assert torch.equal(old.features.norm.mean, torch.full_like(old.features.norm.mean, 7.0))
    assert new.features.norm.mean.abs().max() > 0.1 and not torch.equal(new.features.norm.mean, old.features.norm.mean)
    assert [note.split(" ")[0] for note in system.notes] == [
        "augment.spectrum:",
        f"model.branches.old.ckpt={tmp_path / 'old.ckpt'}:",
        "frozen:",
    ]
    system.train()
    for branch in (old, new, raw):
        norms = [m for m in branch.encoder.modules() if isinstance(m, torch.nn.BatchNorm1d)]
        assert [norm.training for norm in norms] == [False] * (len(norms) - 1) + [True]
    resumed = build_system(cfg, build_datamodule(cfg, build_corpus(cfg)), resumed=True)
    assert not resumed.network.branches["new"].features.norm.mean.any()


def adamw(weights: np.ndarray, gradients: list[np.ndarray], lr: float, decay: float) -> np.ndarray:
    """Loshchilov, Hutter: "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, in 64 bits."""
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step, gradient in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        weights = weights - lr * decay * weights - lr * mean / (np.sqrt(square) + 1e-8)
    return weights


@pytest.mark.parametrize("member", ["adamw", "adam", "sgd"])
def test_a_fused_optimizer_takes_the_same_steps(compose, member):
    start, *gradients = torch.randn(6, 40, 30, generator=torch.Generator().manual_seed(0))
    found = {}
    for fused in (True, False):
        cfg, _ = compose(f"optimizer={member}", f"optimizer.fused={str(fused).lower()}")
        weight = torch.nn.Parameter(start.clone())
        optimizer = build(cfg.optimizer, "optimizer", [weight])
        assert optimizer.param_groups[0]["fused"] is fused
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        found[fused] = weight.detach()
    torch.testing.assert_close(found[True], found[False], rtol=1e-6, atol=1e-7)
    if member == "adamw":
        in_64_bits = [tensor.double().numpy() for tensor in (start, *gradients)]
        expected = adamw(in_64_bits[0], in_64_bits[1:], cfg.optimizer.lr, cfg.optimizer.weight_decay)
        np.testing.assert_allclose(found[True].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ((), True),
        (("compile=false",), False),
        (("compile=true",), False),  # from the first step on
        (("loader.crop_seconds=null",), False),
        (("checkpoint_activations=true",), False),
    ],
)
def test_compiling_is_tried_unless_somebody_has_chosen(compose, tmp_path, overrides, expected):
    cfg, _ = compose("trainer=cpu", *overrides)
    trainer = build_trainer(cfg, tmp_path, 0)
    assert any(isinstance(callback, Compiling) for callback in trainer.callbacks) is expected


@pytest.mark.parametrize("setting, hooks", [("null", True), ("true", True), ("false", False)])
def test_channels_last_has_a_switch(compose, folders, tiny, setting, hooks):
    cfg, choices = compose(
        *(given for given in tiny if not given.startswith(("model.", "pooling."))),
        "model=resnet18",
        "model.encoder.width=4",
        *folders.overrides(),
        f"channels_last={setting}",
    )
    cfg = check(cfg, "train", choices)
    encoder = build_system(cfg, build_datamodule(cfg, build_corpus(cfg))).network.encoder
    assert bool(encoder.stem.conv._forward_pre_hooks) is hooks
