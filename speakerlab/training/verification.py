"""Equal error rate while training: the development trials scored every few epochs."""

import pytorch_lightning as pl

from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.network import embed_batches, in_order
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import verification_metrics
from speakerlab.training.development import DevelopmentLog, gather_ranks
from speakerlab.training.measured import write_measured

LOGGED = ("eer", "min_dcf_0.01", "min_dcf_0.05", "threshold")


class Verification(pl.Callback):
    """After every `every_n_epochs` epochs and after the last, embeds each development utterance once and scores all
    trials by cosine. Logs `val/eer`, `val/min_dcf_0.01`, `val/min_dcf_0.05` and `val/threshold` to the logger and the
    callback metrics, a row to `metrics/val_metrics.csv`, and leaves them in `pl_module.development_metrics`; the
    scores stay in `scores/last_epoch.npz` for the report.

    Args:
        every_n_epochs: how often; 0 is only after the last epoch.
    """

    def __init__(self, every_n_epochs: int = 1):
        self.record = DevelopmentLog(LOGGED, every_n_epochs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record.open(trainer)
        self.speakers = speakers_by_targets(trainer.datamodule.corpus.trials)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.record.measured(trainer, pl_module, self.measure)

    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Metrics of the development trials, the same on every rank."""
        trials = trainer.datamodule.corpus.trials
        loader = trainer.datamodule.development_dataloader()
        embeddings = in_order(*gather_ranks(*embed_batches(pl_module.network, loader, pl_module.device)))
        scores = cosine_scores(embeddings, trials.enrol, trials.test)
        metrics = verification_metrics(scores, trials.labels)
        write_measured(trainer, self.speakers, embeddings, {"scores": scores})
        return metrics
