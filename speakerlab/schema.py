"""The schema of the root configs: every key, and what kind of value it takes."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class LoaderConfig:
    crop_seconds: float | None = MISSING
    sample_rate: int = MISSING
    num_workers: int = MISSING
    cache: str | None = None
    max_bad_share: float = MISSING


@dataclass
class TaskConfig:
    """What is trained for; `callbacks` has a measurement under each task's name."""

    name: str = MISSING


@dataclass
class FramesConfig:
    """What `FeaturePipeline` does besides features and normalisation."""

    deltas: int = MISSING
    stack: str = MISSING
    target_frames: int | None = MISSING
    pad: str = MISSING
    image: int | None = MISSING


@dataclass
class RegulariserConfig:
    """What is added to the loss, with an optimizer of its own; without a loss there is none."""

    weight: float = 0.0
    loss: Any = None
    optimizer: Any = None


@dataclass
class FineTuningConfig:
    """Another run's weights as a start; see `speakerlab.training.fine_tuning`."""

    ckpt: str | None = None
    load: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    freeze_batch_norms: bool = False
    unfreeze_epoch: int | None = None
    rates: dict[str, float] | None = None  # {} could not be given keys on the command line


@dataclass
class AugmentConfig:
    """Named augmentations, each a `_target_` node; null switches one off."""

    noise_dir: str | None = None
    music_dir: str | None = None
    babble_dir: str | None = None
    rir_dir: str | None = None
    speed: Any = None
    mixup: Any = None
    recording: dict[str, Any] = field(default_factory=dict)
    waveform: dict[str, Any] = field(default_factory=dict)
    spectrum: dict[str, Any] = field(default_factory=dict)


@dataclass
class SpaceConfig:
    """What `sweep.py` wants to know of a search space besides `hydra.sweeper.params`; see
    `speakerlab.sweeping.space`."""

    when: dict[str, Any] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    n_trials: int | None = None


@dataclass
class TrainConfig:
    """Root of `conf/train.yaml`; groups are checked against the classes that they name."""

    name: str = MISSING
    seed: int = MISSING
    ckpt: str | None = None
    objective: list[str] | None = None
    cache_dir: str = MISSING
    output_dir: str = MISSING
    folder: str | None = None
    compile: bool | None = None
    channels_last: bool | None = None
    keep_memory: bool = True
    threads: int | None = None
    trust: list[str] = field(default_factory=list)
    features: Any = MISSING
    frames: FramesConfig = field(default_factory=FramesConfig)
    norm: Any = MISSING
    pooling: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    regulariser: RegulariserConfig = field(default_factory=RegulariserConfig)
    margin: Any = MISSING
    task: TaskConfig = field(default_factory=TaskConfig)
    data: Any = MISSING
    sampler: Any = MISSING
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    checkpoint_activations: bool = False
    trainer: Any = MISSING
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: Any = MISSING
    sweep: SpaceConfig = field(default_factory=SpaceConfig)


@dataclass
class ScoringConfig:
    """How embeddings become scores; see `speakerlab.inference.scoring`."""

    backend: str = MISSING
    subtract_mean: bool = MISSING
    lda: int | None = MISSING
    wccn: bool = MISSING
    train: str | None = MISSING
    norm: str = MISSING
    top_n: int | None = MISSING
    cohort: str | None = MISSING
    cohort_means: bool = MISSING
    cohort_size: int | None = MISSING
    utterances_per_speaker: int | None = MISSING
    crops: int = MISSING
    crop_seconds: float = MISSING
    whole: bool = MISSING
    measures: list[str] = MISSING
    seed: int = MISSING
    block_mb: int = MISSING


@dataclass
class EvaluateConfig:
    """Root of `conf/evaluate.yaml`."""

    ckpt: str | None = None
    embeddings: Any = None  # a path, a list of paths or paths by name
    scores: str | list[str] | None = None
    development_scores: str | list[str] | None = None
    trials: str | None = None
    trials_root: str | list[str] | None = None
    split: str | None = None
    manifest: str | None = None
    enrolment: str | None = None
    neighbours: int = MISSING
    save_embeddings: str | None = None
    save_corpus: bool = False
    allow_overlap: bool = False
    device: str = "auto"
    trust: list[str] = field(default_factory=list)
    num_workers: int = MISSING
    processes: int | None = None
    cache_dir: str = MISSING
    cache_gigabytes: float = MISSING
    output_dir: str | None = None
    baselines: bool = False
    bootstrap_draws: int = 1000
    operating_points: list[str] = field(default_factory=list)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    save_calibration: bool = False
    threads: int | None = None


@dataclass
class PruningConfig:
    """Numbers of the pruners; see `speakerlab.sweeping.searching`."""

    startup_trials: int = MISSING
    warmup_epochs: int = MISSING
    patience: int = MISSING
    reduction: int = MISSING


@dataclass
class SweepConfig:
    """Root of `conf/sweep.yaml`."""

    study: str | None = None
    n_trials: int | None = None
    hours: float | None = None
    workers: int = MISSING
    search: str = MISSING
    startup_trials: int = MISSING
    search_seed: int = MISSING
    pruner: str = MISSING
    pruning: PruningConfig = field(default_factory=PruningConfig)
    warm_start: str | None = None
    warm_start_points: int = MISSING
    max_failures: int = MISSING
    storage: str | None = None
    heartbeat: int = MISSING
    grace: int = MISSING
    output_dir: str = MISSING


SCHEMAS = {"train": TrainConfig, "evaluate": EvaluateConfig, "sweep": SweepConfig}
