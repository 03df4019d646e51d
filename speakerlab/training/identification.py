"""Identification accuracy while training: other recordings of the training speakers classified every few epochs."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from speakerlab.network import classify, embed_batches, in_order
from speakerlab.scoring.identification import confusion_matrix
from speakerlab.training.development import DevelopmentLog, gather_ranks, metrics_on
from speakerlab.training.identification_metrics import IdentificationMetrics
from speakerlab.training.measured import write_measured
from speakerlab.training.metrics_file import MetricsFile

LOGGED = ("accuracy", "top5_accuracy", "macro_f1", "error_rate")
CONFUSION = ("epoch", "step", "speaker", "named", "utterances")


class Identification(pl.Callback):
    """After every `every_n_epochs` epochs and after the last, embeds each utterance of `corpus.validation` whole and
    classifies it by the loss's logits without margin. Logs `val/accuracy`, `val/top5_accuracy`, `val/macro_f1` and
    `val/error_rate` to the logger and the callback metrics, a row to `metrics/val_metrics.csv`, and leaves them in
    `pl_module.development_metrics`; the guesses stay in `scores/last_epoch.npz` for the report.

    Args:
        every_n_epochs: how often; 0 is only after the last epoch.
    """

    def __init__(self, every_n_epochs: int = 1):
        self.record = DevelopmentLog(LOGGED, every_n_epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record.open(trainer)
        if trainer.is_global_zero:
            confusion_table(trainer).cut_back(trainer.global_step)

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
        if trainer.is_global_zero:
            known = len(data.speakers)
            if trainer.world_size > 1:
                guesses = classify(pl_module.loss, embeddings, speakers, known, pl_module.device)
            named = {"classes": speakers, "names": np.array(data.speakers)}
            write_measured(trainer, speakers, embeddings, {**guesses._asdict(), **named})
            write_confusion(trainer, speakers, guesses.predicted, data.speakers)
        return metrics.compute()


def confusion_table(trainer: pl.Trainer) -> MetricsFile:
    """`metrics/confusion.csv` in the run's folder."""
    return MetricsFile(Path(trainer.default_root_dir) / "metrics" / "confusion.csv", CONFUSION)


def write_confusion(trainer: pl.Trainer, speakers: NDArray, predicted: NDArray, names: list[str]) -> None:
    """Add this epoch's cells: how many utterances of a speaker were said to be whose.

    Thousands of speakers have millions of cells, of which no more are kept than there are utterances.

    Args:
        trainer: whose epoch ends.
        speakers, predicted: `(utterances,)` classes.
        names: of the classes.
    """
    cells = confusion_matrix(predicted, speakers, len(names)).tocoo()
    place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
    rows = (
        place | {"speaker": names[speaker], "named": names[named], "utterances": int(count)}
        for speaker, named, count in zip(cells.row, cells.col, cells.data, strict=True)
    )
    confusion_table(trainer).append(*rows)
