"""Checkpoints: the best by development error, the last, and each epoch when asked."""

import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from speakerlab import InputError
from speakerlab.data.manifest import replacing
from speakerlab.scoring.metrics import monitored

log = logging.getLogger("speakerlab")
STOPPING = (signal.SIGINT, signal.SIGTERM)
LAST = "last.ckpt"
BEST = "best.ckpt"


class Stopped(Exception):
    """Somebody asked the run to stop, and it has been kept.

    Attributes:
        signal: that it was asked by.
    """

    def __init__(self, number: int):
        super().__init__("stopped and kept; the same command with ckpt=last goes on from here")
        self.signal = number


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, renames: a kill or a full disk leaves the old checkpoint whole. Reads data
    only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(path) as draft:
                torch.save(checkpoint, draft)
        except RuntimeError as error:  # torch hides the cause, which is a full disk
            free = shutil.disk_usage(path.parent).free / 1e6
            raise InputError(
                f"{path}: the checkpoint can't be written ({free:.0f} MB are free there); make room, then go on with "
                "ckpt=last"
            ) from error

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict:
        return torch.load(path, map_location=map_location, weights_only=True)


class Checkpoints(pl.callbacks.Checkpoint):
    """Keeps `checkpoints/best.ckpt` (lowest development EER, or error rate of identification), `last.ckpt` and, when
    asked, `epoch_NNN.ckpt`.

    Ctrl-C and SIGTERM let the step end, keep the run and raise `Stopped`; a second one stops at once.

    Args:
        every_minutes: how often `last.ckpt` is also written within an epoch.
        every_epoch: keep each epoch's checkpoint.

    Raises:
        ValueError: if `every_minutes` is not positive.
    """

    def __init__(self, every_minutes: float = 10.0, every_epoch: bool = False):
        if not every_minutes > 0:  # written so, nan is refused too
            raise ValueError(f"every_minutes={every_minutes} must be positive")
        self.every_minutes = every_minutes
        self.every_epoch = every_epoch
        self.best_error = float("inf")
        self.best_epoch = -1

        self.stop = 0  # number of the signal that asked for it
        self.handlers: dict[int, Any] = {}

    def state_dict(self) -> dict:
        return {"best_error": self.best_error, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict) -> None:
        self.best_error = state_dict["best_error"]
        self.best_epoch = state_dict["best_epoch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.written = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._ask) for number in STOPPING}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._give_back_handlers()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._give_back_handlers()

    def _ask(self, number: int, frame: object) -> None:
        self.stop = number
        self._give_back_handlers()

    def _give_back_handlers(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        batches = batch_idx + 1
        # Gradients that are still accumulating are in no checkpoint, and the epoch's end writes one anyway.
        if batches % trainer.accumulate_grad_batches or batches == trainer.num_training_batches:
            return
        due, stop = time.monotonic() - self.written >= 60.0 * self.every_minutes, self.stop
        if trainer.world_size > 1:
            due, stop = trainer.strategy.broadcast((due, stop))  # clocks differ, and saving needs every rank
        if due or stop:
            save(trainer, LAST)
            self.written = time.monotonic()
        if stop:
            raise Stopped(stop)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        measured = pl_module.development_metrics
        error = measured[monitored(measured)] if measured else float("inf")
        names = [LAST]
        if self.every_epoch:
            names.insert(0, f"epoch_{trainer.current_epoch + 1:03d}.ckpt")
        if error < self.best_error:
            self.best_error = error
            self.best_epoch = trainer.current_epoch + 1
            names.insert(0, BEST)
        # The last name is what a resumed run starts from: once it is there, the others are.
        save(trainer, *names)
        self.written = time.monotonic()
        stop = trainer.strategy.broadcast(self.stop) if trainer.world_size > 1 else self.stop
        if stop:
            raise Stopped(stop)


def save(trainer: pl.Trainer, first: str, *others: str) -> None:
    """Write a checkpoint under its first name and give it the others; called on every rank."""
    folder = Path(trainer.default_root_dir) / "checkpoints"
    if trainer.is_global_zero and hasattr(trainer.logger.experiment, "flush"):
        trainer.logger.experiment.flush()  # the points before this checkpoint will not be logged again
    trainer.save_checkpoint(folder / first, weights_only=False)
    if trainer.is_global_zero:
        for name in others:
            link(folder / first, folder / name)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the file system has no hard links."""
    with replacing(target) as draft:
        draft.unlink(missing_ok=True)
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
