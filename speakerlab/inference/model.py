"""From what the user names (a checkpoint, a list, a device) to the objects of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.build import build_network, check_workers, load_checkpoint, network_from_checkpoint
from speakerlab.data.development import read_development_trials
from speakerlab.data.tree import make_folder
from speakerlab.data.trials import Trials, locate_utterances, read_trials
from speakerlab.inference.baselines import MeanMfcc
from speakerlab.inference.evaluation import FEWEST_DRAWS


@dataclass(frozen=True)
class Systems:
    """Networks by name, the model first, and the sample rate that they take."""

    networks: dict[str, nn.Module]
    sample_rate: int


def check_numbers(cfg: DictConfig) -> None:
    """Refuse counts out of range before anything is loaded."""
    check_workers("num_workers", cfg.num_workers)
    if cfg.bootstrap_draws != 0 and cfg.bootstrap_draws < FEWEST_DRAWS:
        raise InputError(f"bootstrap_draws={cfg.bootstrap_draws} must be at least {FEWEST_DRAWS}, or 0 for no interval")


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
        return read_development_trials(run_folder(checkpoint) or checkpoint.parent)
    path = Path(cfg.trials).expanduser()
    trials = read_trials(path)
    roots = [cfg.trials_root] if isinstance(cfg.trials_root, str) else cfg.trials_root or [path.parent]
    return trials, locate_utterances(trials, [Path(root).expanduser() for root in roots])


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
    return "development" if cfg.trials is None else Path(cfg.trials).stem


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
