"""What `sweep.py` makes of its command line."""

import re
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import optuna
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.cli.branches import branch_arguments
from speakerlab.cli.explain import explain_composition
from speakerlab.cli.launch import compose, offer_experiment_file, trusted_on_command_line
from speakerlab.cli.objective import objectives
from speakerlab.data import usable_cpus
from speakerlab.reports.metric_names import HIGHER_IS_BETTER
from speakerlab.schema import SweepConfig
from speakerlab.shipped import CONF, nearest
from speakerlab.sweeping.hardware import Share, shares, visible_gpus
from speakerlab.sweeping.measurements import PARAMETERS
from speakerlab.sweeping.plan import Plan
from speakerlab.sweeping.results import complete_trials, ranked, study_folder
from speakerlab.sweeping.searching import Pruning, Search, check_search
from speakerlab.sweeping.space import Space, Value, is_range, read_space
from speakerlab.sweeping.study import DATABASE, join, load, open_storage, queue_points, sweeps_folder

TRIALS = 20  # where neither the command line nor the space says
# Of train.py's config: what depends on the machine, or says nothing about what a trial's values mean.
NOT_COMPARED = (
    *("name", "ckpt", "folder", "output_dir", "cache_dir", "compile", "threads", "trust", "sweep", "objective"),
    *(
        "channels_last",
        "keep_memory",
        "logger",
        "checkpoint_activations",
        "loader.num_workers",
        "loader.cache",
        "loader.max_bad_share",
    ),
    *("data.root", "data.trials_root", "data.cache_dir", "callbacks.checkpoints"),
    *(f"augment.{kind}_dir" for kind in ("noise", "music", "babble", "rir")),
    *("trainer.accelerator", "trainer.devices", "trainer.precision", "trainer.sync_batchnorm"),
    *("trainer.enable_progress_bar", "trainer.log_every_n_steps"),
)
# Groups whose members differ in such keys alone, or whose keys say it better.
NO_MATTER = ("trainer", "logger", "loader", "callbacks", "sweep", "experiment", "debug")


class Sweep(NamedTuple):
    """What the workers are to do and with what, the study that they share, and what the user should know."""

    plan: Plan
    shares: list[Share]
    study: optuna.Study
    notes: list[str]


class Base(NamedTuple):
    """What all trials have in common: overrides, the config that they give, the chosen member of each group; the points
    to try first, without what the command line has fixed; and examples of trials with their configs."""

    overrides: list[str]
    cfg: DictConfig
    choices: dict[str, str]
    points: list[dict[str, object]]
    examples: list[tuple[dict[str, Value], DictConfig]]


def plan_sweep(cfg: DictConfig, overrides: list[str], script: Path) -> Sweep:
    """Everything that is decided before the first trial. The study is made, or found as it was left.

    Args:
        cfg: of `sweep.py`.
        overrides: for the trials, some of them ranges.
        script: `train.py`.

    Raises:
        InputError: for whatever can't work, before anything is trained.
    """
    _check_numbers(cfg)
    space, base = read_trials(overrides)
    names, directions = _objectives(base.cfg)
    search, pruning = Search(cfg.search, cfg.startup_trials, cfg.search_seed), Pruning(cfg.pruner, **cfg.pruning)
    notes = check_search(search, pruning, space, len(names))
    points = [space.check_point(point) for point in base.points]
    study_name = cfg.study or _study_name(base, space)
    folder = sweeps_folder(cfg.output_dir).resolve() / study_name
    divided = _divide(cfg.workers, base.cfg)
    if cfg.warm_start is not None:
        warm, dropped = warm_points(cfg, space)
        notes += dropped
    notes += _try_examples(base)
    if cfg.storage is None:
        _make(folder)
    storage = cfg.storage or f"sqlite:///{folder / DATABASE}"
    opened = open_storage(storage, cfg.heartbeat, cfg.grace)
    _make(folder)
    members = {group: member for group, member in base.choices.items() if "/" not in group and group not in NO_MATTER}
    definition = {"space": space.definition(), "choices": members, "config": compared(base.cfg)}
    study = join(study_name, opened, names, directions, definition)
    n_trials = cfg.n_trials or base.cfg.sweep.n_trials or TRIALS
    # No more than will be tried: a trial that is killed is queued behind them.
    queue_points(study, [*points, *(warm if cfg.warm_start is not None and not study.trials else [])][:n_trials])
    threads = [] if divided[0].threads is None else [f"threads={divided[0].threads}"]
    plan = Plan(
        study=study_name,
        storage=storage,
        folder=folder,
        command=(sys.executable, str(script.resolve()), *base.overrides, *threads),
        space=space,
        objectives=names,
        directions=directions,
        n_trials=n_trials,
        epochs=base.cfg.trainer.max_epochs,
        search=search,
        pruning=pruning,
        heartbeat=cfg.heartbeat,
        grace=cfg.grace,
        deadline=None if cfg.hours is None else time.time() + 3600 * cfg.hours,
    )
    return Sweep(plan, divided, study, notes)


def _study_name(base: Base, space: Space) -> str:
    """The space's name, or those of the keys that vary."""
    chosen = base.choices.get("sweep", "None")
    if chosen != "None":
        return chosen
    return re.sub(r"[^\w.-]+", "_", "_".join(parameter.key for parameter in space)).strip("._")


def _check_numbers(cfg: DictConfig) -> None:
    for key in ("n_trials", "workers", "max_failures", "heartbeat", "warm_start_points"):
        if cfg[key] is not None and cfg[key] < 1:
            raise InputError(f"{key}={cfg[key]} must be at least 1")
    if cfg.workers > usable_cpus():
        raise InputError(f"workers={cfg.workers} must be at most {usable_cpus()}, the CPUs that are here")
    if cfg.grace < 2 * cfg.heartbeat:
        raise InputError(f"grace={cfg.grace} must be at least twice heartbeat={cfg.heartbeat}")
    if cfg.hours is not None and not cfg.hours > 0:
        raise InputError(f"hours={cfg.hours} must be positive")
    if cfg.study is not None and Path(cfg.study).name != cfg.study:
        raise InputError(f"study={cfg.study} must be a name; its folder is made in {sweeps_folder(cfg.output_dir)}")


def read_trials(overrides: list[str]) -> tuple[Space, Base]:
    """The space that trials vary in, and what they share.

    Raises:
        InputError: for a typo in either, as `train.py` would say it.
    """
    overrides = branch_arguments(overrides)
    offer_experiment_file(overrides)
    for override in overrides:
        if override.startswith("sweep=") and is_range(override):
            raise InputError(f"{override}: a study has one space; what both vary can stand in one file of conf/sweep/")
    whole = _whole_config([override for override in overrides if not is_range(override)])
    params = OmegaConf.to_container(whole.hydra.sweeper.get("params") or OmegaConf.create())
    when = OmegaConf.to_container(OmegaConf.select(whole, "sweep.when") or OmegaConf.create())
    space, fixed = read_space(params, overrides, when)
    cfg, choices = compose("train", fixed)
    space = space.settled(lambda key: _value_of(key, cfg, choices))
    own = choices["experiment"]  # whose space, if there is one of its name, is searched where nothing else is given
    if not space.parameters and choices["sweep"] == "None" and (CONF / "sweep" / f"{own}.yaml").is_file():
        return read_trials([*overrides, f"sweep={own}"])
    if not space.parameters:
        raise InputError("nothing to search: give sweep=SPACE (conf/sweep/), or ranges like loss.margin=interval(0, 1)")
    examples = [(example, compose("train", [*fixed, *written(example)])[0]) for example in space.examples()]
    gone = set(params) - {parameter.key for parameter in space}
    points = OmegaConf.to_container(cfg.sweep.points)
    points = [{key: value for key, value in point.items() if key not in gone} for point in points]
    return space, Base(fixed, cfg, choices, points, examples)


def _try_examples(base: Base) -> list[str]:
    """Build, without memory, what trials may be given; lines about members of groups that don't go with others' first
    values, as they may with other values.

    Raises:
        InputError: for what would stop a trial.
    """
    from speakerlab.training.assembly import try_components  # late: typos are found without torch

    first, notes = base.examples[0][0], []
    for example, cfg in base.examples:
        try:
            try_components(cfg, trusted_on_command_line(base.overrides))
        except InputError as error:
            others = {key: value for key, value in example.items() if value != first.get(key)}
            groups = [key for key in others if (CONF / key.lstrip("+").split("@")[0]).is_dir()]
            if not groups:
                raise InputError(f"{error} (trial: {' '.join(written(example))})") from error
            notes.append(f"trials such as {' '.join(written(example))} will fail: {error}")
    return notes


def written(params: dict[str, Value]) -> list[str]:
    """Parameters as `train.py` takes them."""
    return [f"{key}={value}" for key, value in params.items()]


def _whole_config(overrides: list[str]) -> DictConfig:
    """The config of `train.py` with Hydra's own part, unchecked."""
    from hydra import compose as compose_whole
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF)):
            return compose_whole("train", overrides, return_hydra_config=True)
    except Exception as error:  # Hydra's and OmegaConf's have no common base
        for override in overrides:
            key = override.lstrip("+~").partition("=")[0]
            hint = nearest(key, [entry.name for entry in fields(SweepConfig)], cutoff=0.75)
            if hint and f"'{key}'" in str(error):
                raise InputError(f"unknown key {key!r} on the command line{hint}") from error
        raise InputError(explain_composition(error, "train", overrides)) from error


def _value_of(key: str, cfg: DictConfig, choices: dict[str, str]) -> object:
    if key in choices:
        return choices[key]
    missing = object()
    value = OmegaConf.select(cfg, key, default=missing)
    if value is missing:
        raise InputError(f"sweep.when: {key} is no key and no group{nearest(key, list(choices))}")
    return value


def _objectives(base: DictConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = tuple(objectives(base))
    if len(set(names)) < len(names) or all(name == PARAMETERS for name in names):
        raise InputError(f"objective=[{','.join(names)}]: name a metric that is measured, such as eer, and none twice")
    if "macs" in names:
        raise InputError("objective: macs are counted by train.py -m alone; take parameters")
    return names, tuple("maximize" if name in HIGHER_IS_BETTER else "minimize" for name in names)


def compared(base: DictConfig) -> dict[str, object]:
    """What trials' values depend on, besides the space: dotted key -> plain value."""
    found: dict[str, object] = {}

    def walk(node: object, key: str) -> None:
        if key in NOT_COMPARED:
            return
        if isinstance(node, dict) and node:
            for name, child in node.items():
                walk(child, f"{key}.{name}" if key else str(name))
        else:
            found[key] = node

    walk(OmegaConf.to_container(base, resolve=True), "")
    return found


def _divide(workers: int, base: DictConfig) -> list[Share]:
    """This machine, among the workers."""
    gpus = visible_gpus() if base.trainer.accelerator in ("auto", "gpu", "cuda") else []
    devices = base.trainer.devices
    per_trial = int(devices) if str(devices).isdecimal() and int(devices) > 0 else None
    if gpus and workers > 1 and per_trial is None and str(devices) not in ("auto", "-1"):
        raise InputError(f"trainer.devices={devices} must be a number or auto, since each worker has its own GPUs")
    divided = shares(workers, gpus, per_trial or (None if gpus else 1), usable_cpus())
    return [share._replace(threads=None) for share in divided] if base.threads is not None else divided


def warm_points(cfg: DictConfig, space: Space) -> tuple[list[dict[str, Value]], list[str]]:
    """The best points of another study, as far as this space has them; and lines about the others."""
    local = (study_folder(cfg.warm_start, cfg.output_dir) / DATABASE).is_file()
    other = load(cfg.warm_start, None if local else cfg.storage, cfg.output_dir)
    known = {parameter.key for parameter in space}
    found, notes = [], []
    for trial in ranked(other)[: cfg.warm_start_points]:
        point = {key: value for key, value in trial.params.items() if key in known}
        try:
            found.append(space.check_point(point))
        except InputError as error:
            notes.append(f"warm_start={cfg.warm_start}: trial {trial.number} is left out: {error}")
    if not found:
        complete = len(complete_trials(other))
        notes.append(f"warm_start={cfg.warm_start}: none of its {complete} complete trials has a point for this space")
    return [point for point in found if point], notes


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be made ({error.strerror}); set output_dir=") from error
