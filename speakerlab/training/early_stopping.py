"""A run that no longer gets better ends."""

import logging

import pytorch_lightning as pl

from speakerlab.scoring.metrics import monitored

log = logging.getLogger("speakerlab")


class EarlyStopping(pl.Callback):
    """Ends the training after `patience` measurements in a row without a better development error.

    Lightning's own counts epochs, those in which nothing was measured too.

    Args:
        patience: measurements; None never ends a run.
        min_improvement: what counts as better, as a share of the error: 0.01 is a hundredth of it.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self, patience: int | None = None, min_improvement: float = 0.0):
        if patience is not None and patience < 1:
            raise ValueError(f"patience={patience} must be at least 1, or null")
        if not 0 <= min_improvement < 1:
            raise ValueError(f"min_improvement={min_improvement} must lie in [0, 1)")
        self.patience = patience
        self.min_improvement = min_improvement
        self.best = float("inf")
        self.waited = 0

    def state_dict(self) -> dict:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict) -> None:
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        measured = pl_module.development_metrics
        if self.patience is None or not measured:
            return
        error = measured[monitored(measured)]
        if error < self.best * (1.0 - self.min_improvement):
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            trainer.should_stop = True
            if trainer.is_global_zero:
                log.info(f"stopped early: no better error in {self.patience} measurements")
