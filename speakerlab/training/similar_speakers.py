"""Which speakers the classifier finds similar, told to the sampler of hard batches every few epochs."""

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from speakerlab import InputError
from speakerlab.data.batches import Sampler

BLOCK = 2**24  # similarities at once: 64 MB, whatever the number of classes


class SimilarSpeakers(pl.Callback):
    """At the end of every `every_n_epochs`-th epoch, gives the sampler each speaker's nearest others by the cosine of
    the loss's weight rows; see `speakerlab.data.samplers.hard_speakers`.

    Rank 0 computes for all, since another GPU's rounding might give its rank other batches. The data module keeps the
    result in the checkpoint.

    Args:
        every_n_epochs: how often.

    Raises:
        ValueError: if that is less than 1.
    """

    def __init__(self, every_n_epochs: int = 1):
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs} must be at least 1")
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The next epoch's batches are not drawn yet, and checkpoints are written after every other callback.
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        sampler, found = trainer.datamodule.sampler, None
        if trainer.is_global_zero:
            weights = class_weights(pl_module.loss)
            found = nearest(weights, min(sampler.candidates, len(weights) - 1))
        sampler.neighbours = trainer.strategy.broadcast(found)


def check_use(sampler: Sampler, loss: torch.nn.Module) -> None:
    """InputError if the sampler has no use for similar speakers, or the loss can't tell them."""
    if not hasattr(sampler, "neighbours"):
        raise InputError(
            "callbacks.similar_speakers tells a sampler that has no use for it: choose sampler=hard_speakers, or "
            "set callbacks.similar_speakers=null"
        )
    class_weights(loss)


def class_weights(loss: torch.nn.Module) -> Tensor:
    """`(speakers, dim)` the loss's row of each speaker.

    Raises:
        InputError: if it has none.
    """
    for module in loss.modules():
        if hasattr(module, "speaker_weights"):
            return module.speaker_weights()
    raise InputError(
        "sampler=hard_speakers needs a loss with weights for each speaker, such as loss=aam: similar speakers are "
        f"those with similar weights, and {type(loss).__name__} has none"
    )


@torch.no_grad()
def nearest(rows: Tensor, count: int, block: int = BLOCK) -> np.ndarray:
    """The `count` other rows with the greatest cosine for each row, the greatest first.

    Args:
        rows: `(rows, dim)`.
        count: at most one less than there are rows.
        block: cosines computed at once; the full `(rows, rows)` matrix never exists.

    Returns:
        `(rows, count)` int32.
    """
    units = F.normalize(rows.float())
    found = np.empty((len(rows), count), np.int32)
    step = max(1, block // len(rows))
    for first in range(0, len(rows), step):
        part = units[first : first + step]
        cosines = part @ units.T  # (part, rows)
        cosines[torch.arange(len(part)), torch.arange(first, first + len(part))] = -2.0  # not itself
        found[first : first + step] = cosines.topk(count, dim=1).indices.cpu().numpy()
        del cosines  # before the next block is made
    return found
