"""What the callbacks that measure a model while it trains have in common: when, and where the numbers go."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric

from speakerlab import InputError
from speakerlab.training.checkpoints import LAST, save
from speakerlab.training.ema import averaged
from speakerlab.training.metrics_file import MetricsFile

MetricT = TypeVar("MetricT", bound=Metric)


class DevelopmentLog:
    """Keeps what is measured after some epochs.

    Args:
        names: of the metrics that are kept.
        every_n_epochs: how often; 0 is only after the last epoch.
    """

    def __init__(self, names: tuple[str, ...], every_n_epochs: int):
        if every_n_epochs < 0:
            raise ValueError(f"every_n_epochs={every_n_epochs} must be at least 0")
        self.names = names
        self.every_n_epochs = every_n_epochs

    def open(self, trainer: pl.Trainer) -> None:
        """Find `metrics/val_metrics.csv`; what it has from after the checkpoint is cut off."""
        path = Path(trainer.default_root_dir) / "metrics" / "val_metrics.csv"
        self.table = MetricsFile(path, ("epoch", "step", *self.names))
        if trainer.is_global_zero:
            self.table.cut_back(trainer.global_step)

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Whether the epoch that ends now is measured; the last always is, whatever ends the training."""
        epochs = trainer.current_epoch + 1
        out_of_steps = 0 <= trainer.max_steps <= trainer.global_step
        if trainer.should_stop or out_of_steps or epochs == trainer.max_epochs:  # should_stop: trainer.max_time, say
            return True
        return self.every_n_epochs > 0 and epochs % self.every_n_epochs == 0

    def measured(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        measure: Callable[[pl.Trainer, pl.LightningModule], dict],
    ) -> None:
        """`measure` the epoch if it is due and keep what it gives. Should it find audio that can't be read, the epoch
        that was trained is kept in `last.ckpt` all the same."""
        pl_module.development_metrics = {}
        if not self.is_due(trainer):
            return
        try:
            with averaged(trainer, pl_module):
                found = measure(trainer, pl_module)
        except InputError:
            if trainer.world_size == 1:  # of several, only the one that met the file is here
                save(trainer, LAST)
            raise
        self.keep(trainer, pl_module, found)

    def keep(self, trainer: pl.Trainer, pl_module: pl.LightningModule, measured: dict[str, float]) -> None:
        """To the logger and the callback metrics under `val/`, to the table, and to `development_metrics`."""
        pl_module.development_metrics = {name: measured[name] for name in self.names}
        # Every rank has computed the same numbers from the same embeddings: nothing is left to average.
        trainer.callback_metrics.update({f"val/{name}": torch.tensor(measured[name]) for name in self.names})
        if trainer.logger is not None:
            named = {f"val/{name}": measured[name] for name in self.names}
            trainer.logger.log_metrics(named, step=trainer.global_step)  # Lightning itself would count from 0
        if trainer.is_global_zero:
            place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
            self.table.append(place | pl_module.development_metrics)


def metrics_on(metrics: MetricT, trainer: pl.Trainer, pl_module: pl.LightningModule) -> MetricT:
    """The metrics where ranks can join them: on the module's device if there are several, else on the CPU, where they
    are computed."""
    return metrics.to(pl_module.device) if trainer.world_size > 1 else metrics


def gather_ranks(indices: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate what every rank embedded; ranks may hold different numbers of utterances."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return indices, embeddings
    shares: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, (indices.cpu(), embeddings.cpu()))
    return torch.cat([share[0] for share in shares]), torch.cat([share[1] for share in shares])
