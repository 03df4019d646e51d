"""Exponential moving average of the weights.

Polyak, Juditsky: "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control and Optimization,
1992; with an exponential window as Tarvainen and Valpola's mean teacher (NeurIPS 2017).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytorch_lightning as pl
import torch
from torch import Tensor, nn


class Ema(pl.Callback):
    """Averages network and loss over the optimizer's steps; development trials are scored and speakers named with the
    averages, and checkpoints hold them as their weights, the trained ones beside them for resuming.

    The statistics of batch norms, and what a loss counts, are averaged like weights.

    Args:
        decay: share of the average that a step leaves; in the first steps less, (1 + n) / (10 + n) after n. None
            switches it off.

    Raises:
        ValueError: if `decay` is not between 0 and 1.
    """

    def __init__(self, decay: float | None = None):
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"decay={decay} must lie between 0 and 1, or be null")
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self.steps = 0

    def state_dict(self) -> dict:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict) -> None:
        self.steps = state_dict["steps"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.decay is None:
            return
        start = self.average or pl_module.state_dict()  # a checkpoint's average has been loaded by now
        self.average = {name: value.detach().clone().to(pl_module.device) for name, value in start.items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict, batch: dict, batch_idx: int
    ) -> None:
        if self.decay is None or trainer.global_step == self.steps:  # a step may take several batches
            return
        self.steps = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for name, value in pl_module.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1.0 - decay)
                else:
                    self.average[name].copy_(value)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict) -> None:
        if self.decay is None:
            return
        checkpoint["trained"] = {name: checkpoint["state_dict"][name] for name in self.average}
        checkpoint["state_dict"] |= self.average

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict) -> None:
        if "trained" not in checkpoint:
            return
        if self.decay is not None:  # the module has been given the average already
            self.average = {name: value.clone() for name, value in pl_module.state_dict().items()}
        pl_module.load_state_dict(checkpoint["trained"])  # also where a run goes on without averaging

    @contextmanager
    def applied(self, pl_module: nn.Module) -> Iterator[None]:
        """The module with averaged weights, and afterwards as it was."""
        trained = {name: value.clone() for name, value in pl_module.state_dict().items()}
        pl_module.load_state_dict(self.average)
        try:
            yield
        finally:
            pl_module.load_state_dict(trained)


def averaged(trainer: pl.Trainer, pl_module: pl.LightningModule) -> AbstractContextManager:
    """Around whatever judges a network: with averaged weights, where they are averaged."""
    for callback in trainer.callbacks:
        if isinstance(callback, Ema) and callback.decay is not None:
            return callback.applied(pl_module)
    return nullcontext()
