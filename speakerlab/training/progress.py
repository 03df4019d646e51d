"""What a person sees of a training run: loss, accuracy, speed and the wait for data, by step and by epoch."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar

from speakerlab import InputError
from speakerlab.training.metrics_file import MetricsFile

COLUMNS = (
    "epoch",
    "step",
    "loss",
    "accuracy",
    "learning_rate",
    "margin",
    "utterances_per_second",
    "data_wait_share",
)
log = logging.getLogger("speakerlab")


class Progress(pl.Callback):
    """Averages over each epoch into `metrics/train_metrics.csv` and one log line, over each `log_every_n_steps` steps
    into the logger, all under `train/`. `data_wait_share` is the part of the time in which the step waited for a
    batch; above a few percent, more workers or faster files are wanted.

    The epoch's running sums are in the checkpoint, so that an epoch that was resumed in its middle reports the same
    loss and accuracy as one that was not.
    """

    def __init__(self):
        self.epoch = Sums()
        self.steps = Sums()
        self.logged_step = 0

    def state_dict(self) -> dict:
        return self.epoch.mean_over_ranks().plain()

    def load_state_dict(self, state_dict: dict) -> None:
        self.epoch = Sums(**state_dict)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.table = MetricsFile(Path(trainer.default_root_dir) / "metrics" / "train_metrics.csv", COLUMNS)
        if trainer.is_global_zero:
            self.table.cut_back(trainer.global_step)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch = Sums()
        self.batch_ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: dict, batch_idx: int
    ) -> None:
        self.batch_started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict, batch: dict, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        # After a resume in the middle of an epoch, no batch has ended before the first.
        waited = self.batch_started - getattr(self, "batch_ended", self.batch_started)
        for sums in (self.epoch, self.steps):
            sums.add(outputs, waited, waited + now - self.batch_started, trainer.world_size)
        self.batch_ended = now
        if batch_idx + 1 == trainer.num_training_batches:  # before its network is verified and kept
            check_finite(pl_module, self.epoch.loss)
        is_due = trainer.global_step % trainer.log_every_n_steps == 0
        if is_due and trainer.global_step != self.logged_step:  # accumulation stays at a step for several batches
            self.logged_step = trainer.global_step
            check_finite(pl_module, self.steps.loss)
            means = self._means(self.steps, trainer, pl_module)
            pl_module.log("loss", means["loss"], prog_bar=True, logger=False)
            trainer.logger.log_metrics(
                {f"train/{name}": value for name, value in means.items()}, step=trainer.global_step
            )
            self.steps = Sums()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = self._means(self.epoch, trainer, pl_module)
        if trainer.is_global_zero:
            epoch = trainer.current_epoch + 1
            self.table.append({"epoch": epoch, "step": trainer.global_step} | means)
            log.info(epoch_line(epoch, trainer.max_epochs, means, pl_module.development_metrics))

    def _means(self, sums: "Sums", trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        group = trainer.optimizers[0].param_groups[0]
        means = sums.mean_over_ranks().means() | {"learning_rate": group["lr"]}
        if pl_module.margin is not None:
            means["margin"] = pl_module.margin
        return means


class Bar(RichProgressBar):
    """The live bar of an epoch, numbered from 1 as everywhere else, without the logger's version number."""

    def __init__(self):
        super().__init__(leave=False)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class Sums:
    """Running sums of a stretch of training."""

    def __init__(
        self,
        loss: Any = 0.0,
        accuracy: Any = 0.0,
        batches: int = 0,
        items: int = 0,
        waited: float = 0.0,
        seconds: float = 0.0,
    ):
        self.loss = loss  # a tensor on the device once something is added: reading it each step would stall a GPU
        self.accuracy = accuracy
        self.batches = batches
        self.items = items
        self.waited = waited
        self.seconds = seconds

    def add(self, outputs: dict, waited: float, seconds: float, ranks: int) -> None:
        self.loss = self.loss + outputs["batch_loss"].double()
        if outputs["accuracy"] is not None:
            self.accuracy = self.accuracy + outputs["accuracy"].double()
        self.batches += 1
        self.items += outputs["items"] * ranks
        self.waited += waited
        self.seconds += seconds

    def mean_over_ranks(self) -> "Sums":
        """Every rank's sums averaged, the same on all ranks; `items` already counts all of them."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self
        shares: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, self.plain())
        return Sums(**{name: sum(share[name] for share in shares) / len(shares) for name in self.plain()})

    def plain(self) -> dict[str, float]:
        return {
            "loss": float(self.loss),
            "accuracy": float(self.accuracy),
            "batches": self.batches,
            "items": self.items,
            "waited": self.waited,
            "seconds": self.seconds,
        }

    def means(self) -> dict[str, float]:
        means = {"loss": float(self.loss) / self.batches}
        if isinstance(self.accuracy, torch.Tensor) or self.accuracy:
            means["accuracy"] = float(self.accuracy) / self.batches
        means["utterances_per_second"] = self.items / self.seconds
        means["data_wait_share"] = self.waited / self.seconds
        return means


def check_finite(system: pl.LightningModule, loss: Any) -> None:
    """Stop a diverged run. A loss that overflows fp16 now and then is none: that step is skipped, the weights stay.

    Raises:
        InputError: if the loss and some weight are infinite or NaN.
    """
    if math.isfinite(float(loss)) or all(torch.isfinite(weight).all() for weight in system.parameters()):
        return
    raise InputError(
        "training diverged: the weights are no numbers any more; lower optimizer.lr or trainer.gradient_clip_val, or "
        "lengthen scheduler.warmup_epochs; the last checkpoint is from before"
    )


def epoch_line(epoch: int, epochs: int, means: dict[str, float], development: dict[str, float]) -> str:
    """One line about one epoch."""
    parts = [f"epoch {epoch}/{epochs}", f"loss {means['loss']:.3f}"]
    if "accuracy" in means:
        parts.append(f"accuracy {100 * means['accuracy']:.1f} %")
    if "error_rate" in development:
        parts.append(f"validation accuracy {100 * development['accuracy']:.1f} %")
        parts.append(f"top 5 {100 * development['top5_accuracy']:.1f} %")
    elif development:
        parts.append(f"EER {100 * development['eer']:.2f} %")
        parts.append(f"minDCF(0.01) {development['min_dcf_0.01']:.3f}")
    parts.append(f"{means['utterances_per_second']:.1f} utterances/s")
    if means["data_wait_share"] > 0.02:
        parts.append(f"waiting for data {100 * means['data_wait_share']:.0f} %")
    return "  ".join(parts)
