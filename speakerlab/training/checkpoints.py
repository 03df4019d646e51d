"""Checkpoints: the best by development EER, the last, and each epoch when asked."""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from speakerlab import InputError
from speakerlab.data.manifest import replacing

log = logging.getLogger("speakerlab")
LAST = "last.ckpt"
BEST = "best.ckpt"


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
    """Keeps `checkpoints/best.ckpt` (lowest development EER), `last.ckpt` and, when asked, `epoch_NNN.ckpt`.

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
        self.best_eer = float("inf")
        self.best_epoch = -1

    def state_dict(self) -> dict:
        return {"best_eer": self.best_eer, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict) -> None:
        self.best_eer = state_dict["best_eer"]
        self.best_epoch = state_dict["best_epoch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.written = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        batches = batch_idx + 1
        # Gradients that are still accumulating are in no checkpoint, and the epoch's end writes one anyway.
        if batches % trainer.accumulate_grad_batches or batches == trainer.num_training_batches:
            return
        due = time.monotonic() - self.written >= 60.0 * self.every_minutes
        if trainer.world_size > 1:
            due = trainer.strategy.broadcast(due)  # clocks differ, and saving needs every rank
        if due:
            self._save(trainer, LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        eer = pl_module.development_metrics.get("eer")
        names = [LAST]
        if self.every_epoch:
            names.insert(0, f"epoch_{trainer.current_epoch + 1:03d}.ckpt")
        if eer is not None and eer < self.best_eer:
            self.best_eer = eer
            self.best_epoch = trainer.current_epoch + 1
            names.insert(0, BEST)
        # The last name is what a resumed run starts from: once it is there, the others are.
        self._save(trainer, *names)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            log.info("interrupted; the same command with ckpt=last goes on from the last checkpoint")

    def _save(self, trainer: pl.Trainer, first: str, *others: str) -> None:
        folder = Path(trainer.default_root_dir) / "checkpoints"
        if trainer.is_global_zero and hasattr(trainer.logger.experiment, "flush"):
            trainer.logger.experiment.flush()  # the points before this checkpoint will not be logged again
        trainer.save_checkpoint(folder / first, weights_only=False)
        if trainer.is_global_zero:
            for name in others:
                link(folder / first, folder / name)
        self.written = time.monotonic()


def link(source: Path, target: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the file system has no hard links."""
    with replacing(target) as draft:
        draft.unlink(missing_ok=True)
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
