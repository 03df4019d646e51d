"""Identification accuracy while training: other recordings of the training speakers classified every few epochs."""

import pytorch_lightning as pl
import torch

from speakerlab.network import classify, embed_batches, in_order
from speakerlab.training.development import DevelopmentLog, gather_ranks, metrics_on
from speakerlab.training.identification_metrics import IdentificationMetrics

LOGGED = ("accuracy", "top5_accuracy", "macro_f1", "error_rate")


class Identification(pl.Callback):
    """After every `every_n_epochs` epochs and after the last, embeds each utterance of `corpus.validation` whole and
    classifies it by the loss's logits without margin. Logs `val/accuracy`, `val/top5_accuracy`, `val/macro_f1` and
    `val/error_rate` to the logger and the callback metrics, a row to `metrics/val_metrics.csv`, and leaves them in
    `pl_module.development_metrics`.

    Args:
        every_n_epochs: how often; 0 is only after the last epoch.
    """

    def __init__(self, every_n_epochs: int = 1):
        self.record = DevelopmentLog(LOGGED, every_n_epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record.open(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record.measured(trainer, pl_module, self.measure)

    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Metrics of the validation utterances, the same on every rank; each classifies its share of them."""
        data = trainer.datamodule
        loader = data.development_dataloader()
        embeddings = in_order(*gather_ranks(*embed_batches(pl_module.network, loader, pl_module.device)))
        speakers = data.validation_classes
        share = slice(trainer.global_rank, None, trainer.world_size)
        guesses = classify(pl_module.loss, embeddings[share], speakers[share], len(data.speakers), pl_module.device)
        metrics = metrics_on(IdentificationMetrics(), trainer, pl_module)
        metrics.update(guesses, torch.from_numpy(speakers[share]))
        return metrics.compute()
