"""Equal error rate while training: the development trials scored every few epochs."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from speakerlab.network import embed_batches, in_order
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import verification_metrics
from speakerlab.training.metrics_file import MetricsFile

LOGGED = ("eer", "min_dcf_0.01", "min_dcf_0.05", "threshold")


class Verification(pl.Callback):
    """After every `every_n_epochs` epochs and after the last, embeds each development utterance once and scores all
    trials by cosine. Logs `val/eer`, `val/min_dcf_0.01`, `val/min_dcf_0.05` and `val/threshold` to the logger and the
    callback metrics, a row to `metrics/val_metrics.csv`, and leaves them in `pl_module.development_metrics`.

    Args:
        every_n_epochs: how often; 0 is only after the last epoch.
    """

    def __init__(self, every_n_epochs: int = 1):
        if every_n_epochs < 0:
            raise ValueError(f"every_n_epochs={every_n_epochs} must be at least 0")
        self.every_n_epochs = every_n_epochs

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Whether the epoch that ends now is measured."""
        epochs = trainer.current_epoch + 1
        return epochs == trainer.max_epochs or (self.every_n_epochs > 0 and epochs % self.every_n_epochs == 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.table = MetricsFile(
            Path(trainer.default_root_dir) / "metrics" / "val_metrics.csv", ("epoch", "step", *LOGGED)
        )
        if trainer.is_global_zero:
            self.table.cut_back(trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.development_metrics = {}
        if not self.is_due(trainer):
            return
        measured = self.measure(trainer, pl_module)
        pl_module.development_metrics = {name: measured[name] for name in LOGGED}
        # Every rank has computed the same numbers from the same embeddings: nothing is left to average.
        pl_module.log_dict({f"val/{name}": measured[name] for name in LOGGED})
        if trainer.is_global_zero:
            place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
            self.table.append(place | pl_module.development_metrics)

    def measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Metrics of the development trials, the same on every rank."""
        trials = trainer.datamodule.corpus.trials
        loader = trainer.datamodule.development_dataloader()
        embeddings = in_order(*gather_ranks(*embed_batches(pl_module.network, loader, pl_module.device)))
        return verification_metrics(cosine_scores(embeddings, trials.enrol, trials.test), trials.labels)


def gather_ranks(indices: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate what every rank embedded; ranks may hold different numbers of utterances."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return indices, embeddings
    shares: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, (indices.cpu(), embeddings.cpu()))
    return torch.cat([share[0] for share in shares]), torch.cat([share[1] for share in shares])
