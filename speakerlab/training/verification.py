"""Equal error rate while training: the development trials scored every few epochs."""

import pytorch_lightning as pl
import torch

from speakerlab.network import embed_batches, in_order
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.training.development import DevelopmentLog, gather_ranks, metrics_on
from speakerlab.training.verification_metrics import VerificationMetrics

LOGGED = ("eer", "min_dcf_0.01", "min_dcf_0.05", "threshold")


class Verification(pl.Callback):
    """After every `every_n_epochs` epochs and after the last, embeds each development utterance once and scores all
    trials by cosine. Logs `val/eer`, `val/min_dcf_0.01`, `val/min_dcf_0.05` and `val/threshold` to the logger and the
    callback metrics, a row to `metrics/val_metrics.csv`, and leaves them in `pl_module.development_metrics`.

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
        """Metrics of the development trials, the same on every rank; each scores its share of them."""
        trials = trainer.datamodule.corpus.trials
        loader = trainer.datamodule.development_dataloader()
        embeddings = in_order(*gather_ranks(*embed_batches(pl_module.network, loader, pl_module.device)))
        share = slice(trainer.global_rank, None, trainer.world_size)
        scores = cosine_scores(embeddings, trials.enrol[share], trials.test[share])
        metrics = metrics_on(VerificationMetrics(), trainer, pl_module)
        metrics.update(torch.from_numpy(scores), torch.from_numpy(trials.labels[share]))
        return metrics.compute()
