"""From what the user names (a checkpoint, a list, a device) to the objects of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.build import build_network, check_workers, load_checkpoint, network_from_checkpoint
from speakerlab.data.corpus import check_strangers
from speakerlab.data.development import read_development_trials
from speakerlab.data.tree import make_folder, paths_of
from speakerlab.data.trials import Trials, find_trials_and_files
from speakerlab.inference.baselines import MeanMfcc
from speakerlab.inference.evaluation import FEWEST_DRAWS
from speakerlab.scoring.metrics import operating_point


@dataclass(frozen=True)
class Systems:
    """Networks by name, the model first, and the sample rate that they take."""

    networks: dict[str, nn.Module]
    sample_rate: int


def check_numbers(cfg: DictConfig) -> None:
    """Refuse numbers out of range before anything is loaded."""
    check_workers("num_workers", cfg.num_workers)
    if cfg.bootstrap_draws != 0 and cfg.bootstrap_draws < FEWEST_DRAWS:
        raise InputError(f"bootstrap_draws={cfg.bootstrap_draws} must be at least {FEWEST_DRAWS}, or 0 for no interval")
    for point in cfg.operating_points:
        operating_point(point)


def find_checkpoint(path: str) -> Path:
    """The file that `ckpt` means: a checkpoint, or the best one of a run's folder."""
    given = Path(path).expanduser().absolute()
    if not given.is_dir():
        return given
    for name in ("best.ckpt", "last.ckpt"):
        if (given / "checkpoints" / name).is_file():
            return given / "checkpoints" / name
    raise InputError(f"ckpt={path}: this folder holds no checkpoints/best.ckpt; give a run's folder or a checkpoint")


def load_systems(checkpoint: Path, with_baselines: bool, trust: tuple[str, ...] = ()) -> Systems:
    """The checkpoint's network; for comparison also an untrained one of its shape and the mean MFCC."""
    contents = load_checkpoint(checkpoint)
    sample_rate = contents["config"]["loader"]["sample_rate"]
    networks: dict[str, nn.Module] = {"model": network_from_checkpoint(contents, trust)}
    if with_baselines:
        torch.manual_seed(contents["config"]["seed"])
        networks["untrained network"] = build_network(contents["config"], trust)
        networks["mean MFCC"] = MeanMfcc(sample_rate)
    return Systems(networks, sample_rate)


def find_trials(cfg: DictConfig, checkpoint: Path) -> tuple[Trials, list[Path]]:
    """The trial list and the file of each of its utterances; missing ones are named before any model runs."""
    if cfg.trials is None:
        if cfg.trials_root is not None:
            raise InputError("trials_root is given without trials: add trials=LIST")
        name = "test" if cfg.split == "test" else "development"
        return read_development_trials(run_folder(checkpoint) or checkpoint.parent, name)
    return find_trials_and_files(cfg.trials, paths_of(cfg.trials_root))


def is_identification(cfg: DictConfig, checkpoint: Path) -> bool:
    """Whether utterances are to be identified, and not trials to be scored.

    Raises:
        InputError: for arguments that don't go together.
    """
    if cfg.split not in (None, "val", "test"):
        raise InputError(f"split={cfg.split} must be val or test")
    if cfg.trials is not None:
        for name in ("split", "manifest"):
            if cfg[name] is not None:
                raise InputError(f"trials={cfg.trials} and {name}={cfg[name]} both say what to evaluate on: give one")
        return False
    task = load_checkpoint(checkpoint)["config"].get("task", {"name": "verification"})["name"]
    wanted = cfg.manifest is not None or task == "identification"
    if wanted and cfg.baselines:
        raise InputError("baselines=true is for trials: mean MFCC and an untrained network can name no speaker")
    return wanted


def check_unseen(checkpoint: Path, trials: Trials, allow_overlap: bool) -> None:
    """Refuse trials over VoxCeleb1's speakers that the checkpoint was trained on.

    Raises:
        InputError: unless `allow_overlap`.
    """
    if not allow_overlap:
        check_strangers(trials, [], load_checkpoint(checkpoint)["speakers"], False, "allow_overlap")


def run_folder(checkpoint: Path) -> Path | None:
    """The run that a checkpoint lies in, if it lies in one."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None


def output_folder(cfg: DictConfig, checkpoint: Path) -> Path:
    """Where an evaluation writes; made, so that a folder that can't be is known before hours of embedding."""
    if cfg.output_dir is not None:
        folder = Path(cfg.output_dir)
    else:
        folder = run_folder(checkpoint) or Path("outputs") / "evaluate" / checkpoint.stem
    return make_folder(folder, "output_dir")


def list_name(cfg: DictConfig) -> str:
    """What files about this list are called."""
    if cfg.trials is None:
        return "test" if cfg.split == "test" else "development"
    return Path(cfg.trials).stem


def pick_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        InputError: for a device that this machine lacks.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = ["cuda", *(f"cuda:{index}" for index in range(count))] if count else []
    if device in ("cpu", *gpus):
        return torch.device(device)
    raise InputError(f"device={device} is not here; use {', '.join(['auto', 'cpu', *gpus])}")
