"""Run folders: where a run's files lie, and which run `ckpt=last` continues."""

import fcntl
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.build import last_epoch, load_checkpoint
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import write_development
from speakerlab.data.manifest import replacing
from speakerlab.ranks import rank, started
from speakerlab.record import FILE_ONLY, environment, log_path, text_log
from speakerlab.training.checkpoints import LAST, Stopped
from speakerlab.training.datamodule import SpeakerDataModule

# Tell the other ranks, which run the same script, where rank 0 writes and what it resumes from.
FOLDER_VARIABLE, CHECKPOINT_VARIABLE = "SPEAKERLAB_RUN_FOLDER", "SPEAKERLAB_RUN_CHECKPOINT"
DATA = SpeakerDataModule.__qualname__  # where Lightning keeps the state of the data module
SAVED = ("config", "speakers", "utterances", "epoch", "global_step", DATA)  # what a resumed run is checked by
# What must stay as it was when a run goes on.
FIXED = ("task", "features", "frames", "norm", "pooling", "model", "loss", "regulariser", "optimizer", "sampler")
log = logging.getLogger("speakerlab")


class Run:
    """One training run's folder, and the checkpoint that it starts from.

    Attributes:
        folder: `outputs/<name>/<date_time>`.
        checkpoint: to resume from, or None.
        saved: what that checkpoint says of its run.
        step: optimizer steps in that checkpoint; 0 for a new run.
        data_state: of the data module in that checkpoint; None for a new run.
    """

    def __init__(self, folder: Path, checkpoint: Path | None = None, saved: dict | None = None):
        self.folder = folder
        self.checkpoint = checkpoint
        self.saved = saved or {}
        self.step: int = self.saved.get("global_step", 0)
        self.data_state: dict | None = self.saved.get(DATA)
        self.lock: TextIO | None = None
        self.log = ExitStack()

    def check(self, cfg: DictConfig, corpus: Corpus, augment: Recipe) -> None:
        """Refuse to go on with another network, loss, optimizer or other training data than the checkpoint's, before
        anything in the folder is touched.

        Raises:
            InputError: naming what differs.
        """
        if self.checkpoint is None:
            return
        if cfg.name != self.saved["config"]["name"]:
            raise InputError(f"ckpt={self.checkpoint} is of a run with name={self.saved['config']['name']}: give that")
        plain = OmegaConf.to_container(cfg, resolve=True)
        for key in FIXED:
            if plain[key] != self.saved["config"][key]:
                raise InputError(f"ckpt={self.checkpoint} was trained with another {key}; continue with the same one")
        if _freezing(plain) != _freezing(self.saved["config"]):
            raise InputError(
                f"ckpt={self.checkpoint} was trained with other fine_tuning.freeze, freeze_batch_norms or "
                "unfreeze_epoch, which its optimizer goes by; continue with the same ones"
            )
        if plain["augment"]["speed"] != self.saved["config"]["augment"]["speed"]:
            raise InputError(
                f"ckpt={self.checkpoint} was trained with another augment.speed, which sets the classes; "
                "continue with the same one"
            )
        speakers, utterances = augment.class_names(corpus.speakers), corpus.utterances
        if speakers != self.saved["speakers"] or utterances != self.saved["utterances"]:
            raise InputError(
                f"ckpt={self.checkpoint} was trained on {len(self.saved['speakers'])} speakers and "
                f"{self.saved['utterances']} utterances; now there are others ({len(speakers)} and {utterances})"
            )
        epoch = last_epoch(self.saved)
        if epoch > cfg.trainer.max_epochs:
            raise InputError(f"trainer.max_epochs={cfg.trainer.max_epochs}: the checkpoint is of epoch {epoch}")

    def start(self, cfg: DictConfig, corpus: Corpus, hardware: dict[str, object], notes: tuple[str, ...] = ()) -> None:
        """Make the folder and write down what is about to run and on what, with notes for the log; on rank 0.

        A resumed run's `environment.json` stays that of its beginning; that of each later start is kept beside it.

        Raises:
            InputError: if another process is training in this folder.
        """
        os.environ[FOLDER_VARIABLE] = str(self.folder.resolve())
        os.environ[CHECKPOINT_VARIABLE] = str(self.checkpoint.resolve()) if self.checkpoint else ""
        for name in ("checkpoints", "metrics", "plots"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.lock = lock(self.folder)
        if self.lock is None:
            raise InputError(f"{self.folder}: another process is training in this folder")
        with replacing(self.folder / "config.yaml") as draft:
            OmegaConf.save(cfg, draft, resolve=True)
        starts = len(list(self.folder.glob("environment*.json")))
        with replacing(self.folder / (f"environment_{starts + 1}.json" if starts else "environment.json")) as draft:
            draft.write_text(json.dumps(environment() | hardware, indent=2) + "\n")
        with open(self.folder / "command.txt", "a", encoding="utf-8") as file:
            file.write(shlex.join(["python", *sys.argv]) + "\n")
        write_development(self.folder, corpus)
        self.mark("running")
        self.log.enter_context(text_log(log_path(self.folder, "train")))
        log.log(FILE_ONLY, ", ".join(f"{name} {value}" for name, value in hardware.items()))
        log.log(FILE_ONLY, f"new run {self.folder}" if self.checkpoint is None else f"goes on from {self.checkpoint}")
        for note in (*corpus.notes, *notes):
            log.info(note)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Around all that is done in the folder: how it ended stands in `status.json` and `logs/train.log`, and a run
        that never began leaves no folder.

        Raises:
            SystemExit: in place of `Stopped`, with the status that shells give to a process ended by that signal.
        """
        try:
            with self.log:
                yield
        except BaseException as error:
            stopped = isinstance(error, Stopped)
            if log_path(self.folder, "train").is_file() and self.lock is not None:
                self.mark("stopped" if stopped else "failed")
                if stopped:
                    log.info(str(error))
            else:
                with suppress(OSError):  # it is not empty: somebody's checkpoint lies there
                    self.folder.rmdir()
                    self.folder.parent.rmdir()
            if stopped:
                raise SystemExit(128 + error.signal) from error
            raise

    def mark(self, status: str) -> None:
        """Write `status.json`: "running", "stopped", "failed" or "finished"."""
        with replacing(self.folder / "status.json") as draft:
            draft.write_text(json.dumps({"status": status}) + "\n")


def _freezing(config: dict) -> tuple:
    """What decides which parameters an optimizer has; the epoch of unfreezing may change, though not whether there is
    one."""
    tuning = config.get("fine_tuning", {})
    parts, batch_norms = tuning.get("freeze", []), tuning.get("freeze_batch_norms", False)
    return parts, batch_norms, tuning.get("unfreeze_epoch") is None


def lock(folder: Path) -> TextIO | None:
    """Hold `folder` for this process until it ends, however it ends; None if another process holds it.

    A record lock, which data workers do not inherit: those of a killed run may live some seconds longer.
    """
    file = open(folder / "lock", "a", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def find_run(cfg: DictConfig) -> Run:
    """The run that this command starts or continues.

    `ckpt=last` is the newest unfinished run of the same name whose config is equal but for `ckpt`; a path is a
    checkpoint in the folder of the run to continue, with whatever config is given now.

    Raises:
        InputError: if a given path is no checkpoint in a run's folder.
    """
    # Another rank of a run that has been found; in rank 0 the variables are left over from a sweep's previous run.
    if FOLDER_VARIABLE in os.environ and rank() != 0:
        folder, checkpoint = Path(os.environ[FOLDER_VARIABLE]), os.environ[CHECKPOINT_VARIABLE]
        return _resumed(folder, Path(checkpoint)) if checkpoint else Run(folder)
    if started() > 1 and (cfg.ckpt == "last" or (cfg.ckpt is None and cfg.folder is None)):
        raise InputError(
            "the processes that torchrun or srun started can't choose one run's folder: give all of them a new one, "
            f"folder={cfg.output_dir}/{cfg.name}/first, or the run to go on with, ckpt=RUN"
        )
    if cfg.folder is not None and cfg.ckpt is None:
        return Run(_given_folder(Path(cfg.folder).expanduser()))
    runs = Path(cfg.output_dir) / cfg.name
    if cfg.ckpt == "last":
        found = _newest_unfinished(runs, cfg)
        if found is not None:
            log.info(f"continuing {found}")
            return _resumed(found, found / "checkpoints" / LAST)
        log.info(f"ckpt=last: no unfinished run with this config and a checkpoint in {runs}; starting anew")
    elif cfg.ckpt is not None:
        checkpoint = Path(cfg.ckpt).expanduser()
        if checkpoint.is_dir():
            checkpoint = checkpoint / "checkpoints" / LAST
        if not checkpoint.is_file():
            raise InputError(f"ckpt={cfg.ckpt}: there is no such file; give a checkpoint's path or ckpt=last")
        if checkpoint.parent.name != "checkpoints":
            raise InputError(f"ckpt={cfg.ckpt} must lie in the folder checkpoints/ of the run that it continues")
        return _resumed(checkpoint.parent.parent, checkpoint)
    return Run(_new_folder(runs))


def _resumed(folder: Path, checkpoint: Path) -> Run:
    contents = load_checkpoint(checkpoint)
    return Run(folder, checkpoint, {key: contents[key] for key in SAVED if key in contents})


def _newest_unfinished(runs: Path, cfg: DictConfig) -> Path | None:
    wanted = _comparable(cfg)
    for folder in sorted(runs.glob("*/"), reverse=True):
        status, config = folder / "status.json", folder / "config.yaml"
        if not (status.is_file() and config.is_file() and (folder / "checkpoints" / LAST).is_file()):
            continue
        try:
            finished = json.loads(status.read_text())["status"] == "finished"
            found = _comparable(OmegaConf.load(config))
        except (ValueError, KeyError, YAMLError) as error:
            log.info(f"{folder} is passed over: its status.json or config.yaml is damaged ({type(error).__name__})")
            continue
        if finished or found != wanted:
            continue
        held = lock(folder)
        if held is None:
            log.info(f"{folder} is still running; not continued")
            continue
        held.close()
        return folder
    return None


def _comparable(cfg: DictConfig) -> dict:
    plain = OmegaConf.to_container(cfg, resolve=True)
    plain.pop("ckpt", None)
    return plain


def _given_folder(folder: Path) -> Path:
    """The folder that a new run was told to take; what a try left there that was killed before its first checkpoint is
    written over."""
    if (folder / "checkpoints" / LAST).is_file():
        raise InputError(f"folder={folder} holds a run already: give ckpt={folder} to go on with it, or another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't make the run's folder {folder}: {error.strerror}; give another folder=") from error
    return folder


def _new_folder(runs: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in range(1, 1000):
        folder = runs / (stamp if attempt == 1 else f"{stamp}_{attempt:03d}")
        try:
            folder.mkdir(parents=True)  # two runs that start in the same second get a folder each
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"can't make the run's folder {folder}: {error.strerror}; set output_dir=") from error
        return folder
    raise InputError(f"can't make a new run folder in {runs}")
