"""From what the user names (a checkpoint, a list, a device) to the objects of an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.build import build_network, load_checkpoint, network_from_checkpoint
from speakerlab.data import usable_cpus
from speakerlab.data.corpus import check_strangers
from speakerlab.data.development import read_development_trials, read_utterances, run_folder
from speakerlab.data.manifest import manifest_at, read_manifest
from speakerlab.data.splits import rows_of_splits
from speakerlab.data.tree import make_folder, paths_of
from speakerlab.data.trials import Trials, find_list, find_trials_and_files, read_trials
from speakerlab.data.utterances import Utterances, utterances_in_files
from speakerlab.inference.baselines import MeanMfcc
from speakerlab.untrusted import NETWORK_PARTS

WITHOUT_AUDIO = "was trained on saved embeddings, whose audio it does not know: give embeddings=[PATH,...]"


@dataclass(frozen=True)
class Systems:
    """Networks by name, the model first, the sample rate that they take, and what of the config they depend on."""

    networks: dict[str, nn.Module]
    sample_rate: int
    settings: dict


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
    settings = {part: contents["config"].get(part) for part in (*NETWORK_PARTS, "frames")} | {"rate": sample_rate}
    networks: dict[str, nn.Module] = {"model": network_from_checkpoint(contents, trust)}
    if with_baselines:
        torch.manual_seed(contents["config"]["seed"])
        networks["untrained network"] = build_network(contents["config"], trust)
        networks["mean MFCC"] = MeanMfcc(sample_rate)
    return Systems(networks, sample_rate, settings)


def find_trials(cfg: DictConfig, checkpoint: Path | None) -> tuple[Trials, Utterances]:
    """The trial list and its utterances, with their files unless embeddings are saved; missing files are named before
    any model runs."""
    if cfg.trials is None:
        name = "test" if cfg.split == "test" else "development"
        run = run_folder(checkpoint) or checkpoint.parent
        trials, files = read_development_trials(run, name)
        if cfg.embeddings is not None:
            files = None
        elif not files:
            raise InputError(f"{run} {WITHOUT_AUDIO}, or trials=LIST trials_root=FOLDER")
    elif cfg.embeddings is not None:
        trials, files = read_trials(find_list(cfg.trials, paths_of(cfg.trials_root))), None
    else:
        trials, files = find_trials_and_files(cfg.trials, paths_of(cfg.trials_root))
    return trials, utterances_in_files(trials.utterances, files)


def task_of(checkpoint: Path | None) -> str | None:
    """What a checkpoint was trained for; None without one."""
    if checkpoint is None:
        return None
    return load_checkpoint(checkpoint)["config"].get("task", {"name": "verification"})["name"]


def described(checkpoint: Path) -> str:
    """A line about a checkpoint for the log."""
    contents = load_checkpoint(checkpoint)
    config, steps = contents["config"], contents.get("global_step")
    trained = f"trained for {steps:,} steps" if steps is not None else "trained"
    if "imported" in contents:
        trained = "imported from {peer}'s {file}, trained".format(**contents["imported"])
    parts = [branch["model"] for branch in config["model"].get("branches", {}).values()] or [config["model"]]
    encoders = " and ".join(part["encoder"]["_target_"].rpartition(".")[2] for part in parts)
    return f"{encoders} of run {config.get('name', '?')}, {trained} on {len(contents['speakers']):,} classes"


def find_rows(cfg: DictConfig, checkpoint: Path | None, part: str) -> pa.Table:
    """The rows of a split: of `manifest=`, or of the checkpoint's run.

    Raises:
        InputError: if there are none.
    """
    if cfg.manifest is None:
        run = run_folder(checkpoint) or checkpoint.parent
        table = read_utterances(run, part)
        if cfg.embeddings is None and "" in table["root"].unique().to_pylist():
            raise InputError(f"{run} {WITHOUT_AUDIO}, or manifest=MANIFEST")
        return table
    return rows_of_splits(read_manifest(manifest_at(cfg.manifest, "manifest")), [part], f"manifest={cfg.manifest}")


def check_unseen(checkpoint: Path, trials: Trials, allow_overlap: bool) -> None:
    """Refuse trials over VoxCeleb1's speakers that the checkpoint was trained on.

    Raises:
        InputError: unless `allow_overlap`.
    """
    if not allow_overlap:
        check_strangers(trials, [], load_checkpoint(checkpoint)["speakers"], False, "allow_overlap")


def output_folder(cfg: DictConfig, path: Path) -> Path:
    """Where an evaluation of a checkpoint or of saved embeddings writes; made, so that a folder that can't be is known
    before hours of embedding."""
    if cfg.output_dir is not None:
        folder = Path(cfg.output_dir)
    else:
        folder = run_folder(path) or Path("outputs") / "evaluate" / path.stem
    return make_folder(folder, "output_dir")


def pick_devices(device: str, processes: int | None) -> list[torch.device]:
    """Where to embed, one device a process.

    Args:
        device: `auto` is the GPUs where there are any; `cuda` is all of them, `cuda:1` is one.
        processes: how many; None is one a GPU, or one on the CPU.

    Raises:
        InputError: for a device that this machine lacks, or more processes than it has GPUs or CPUs.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if count else "cpu"
    gpus = [f"cuda:{index}" for index in range(count)]
    if device == "cpu":
        most, there = usable_cpus(), ["cpu"] * (processes or 1)
    elif count and device in ("cuda", *gpus):
        there = gpus if device == "cuda" else [device]
        most = len(there)
    else:
        shown = ", ".join(["auto", "cpu", *(["cuda"] if count else []), *gpus])
        raise InputError(f"device={device} is not here; use {shown}")
    if processes is not None and processes > most:
        raise InputError(f"processes={processes} must be at most {most} with device={device}")
    return [torch.device(name) for name in there[:processes]]
