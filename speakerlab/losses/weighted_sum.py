"""Several losses at once."""

import math

import torch
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """The sum of named losses, each times its weight; the logits are those of the first that has any.

    Args:
        losses: each `(embeddings, speakers) -> loss, logits or None`.
        weights: a positive number for each name.

    Attributes:
        utterances_per_speaker: what the most demanding of them needs of a speaker in a batch.

    Raises:
        ValueError: if there is no loss, or the names of losses and weights differ, or a weight is not positive.
    """

    def __init__(self, losses: dict[str, nn.Module], weights: dict[str, float]):
        super().__init__()
        if not losses:
            raise ValueError("losses: name at least one")
        for name in losses:
            if name not in weights:
                raise ValueError(f"losses.{name} has no weight: give weights.{name}, such as 1.0")
        for name, weight in weights.items():
            if name not in losses:
                raise ValueError(f"weights.{name} is for no loss: there are {', '.join(losses)}")
            if not 0 < weight < math.inf:
                raise ValueError(f"weights.{name}={weight} must be positive")
        self.losses = nn.ModuleDict(losses)
        self.weights = weights
        self.utterances_per_speaker = max(getattr(loss, "utterances_per_speaker", 1) for loss in losses.values())

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor | None]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits or None."""
        total, logits = torch.zeros((), device=embeddings.device), None
        for name, loss in self.losses.items():
            value, found = loss(embeddings, speakers)
            total = total + self.weights[name] * value
            logits = found if logits is None else logits
        return total, logits


def logits_of(loss: nn.Module, embeddings: Tensor, speakers: Tensor) -> Tensor | None:
    """`(batch, num_speakers)` of any batch, of a sum those of the first that has any; None if there are none.

    Losses that compare a speaker's utterances have none and want batches made for them: they are not asked.
    """
    if isinstance(loss, WeightedSum):
        each = (logits_of(one, embeddings, speakers) for one in loss.losses.values())
        return next((found for found in each if found is not None), None)
    if getattr(loss, "utterances_per_speaker", 1) > 1:
        return None
    return loss(embeddings, speakers)[1]
