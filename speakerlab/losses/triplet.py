"""Triplet loss with mining in the batch.

Schroff, Kalenichenko, Philbin: "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015,
sections 3.1 and 3.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import directions
from speakerlab.losses.groups import pairs

MINING = ("semi_hard", "hardest", "all")


class Triplet(nn.Module):
    """`max(0, D(anchor, positive) - D(anchor, negative) + margin)`, the mean over the triplets where it is above 0; `D`
    is the squared Euclidean distance of embeddings of unit length, `2 - 2 cos`, in float32.

    Every two utterances of a speaker are anchor and positive, in both roles. `mining` says which utterances of others
    are their negatives:

    - `semi_hard`: the nearest of those that are farther from the anchor than the positive is; where none is (the paper
      says nothing of it), the farthest of all. The hardest may make all embeddings meet in a point early in training.
    - `hardest`: the nearest.
    - `all`: each; `batch^2` times the utterances of a speaker values in memory.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        margin: on the squared distance, which is at most 4.
        mining: see above.

    Raises:
        ValueError: if the margin is outside (0, 4], or `mining` is none of the three.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(self, embed_dim: int, num_speakers: int, margin: float = 0.2, mining: str = "semi_hard"):
        super().__init__()
        if not 0 < margin <= 4:
            raise ValueError(f"margin={margin} must lie above 0, to 4")
        if mining not in MINING:
            raise ValueError(f"mining={mining} must be one of {', '.join(MINING)}")
        self.margin = margin
        self.mining = mining

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` with two utterances of a speaker or more -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = directions(embeddings.float())
            distance = 2.0 - 2.0 * units @ units.T  # (batch, batch)
            same, different = pairs(speakers)
            anchors, positives = same.nonzero(as_tuple=True)  # (pairs,) each
            own = distance[anchors, positives]
            others = distance[anchors]  # (pairs, batch)
            chosen = mine(own.detach(), others.detach(), different[anchors], self.mining)
            values = F.relu(own[:, None] - others + self.margin) * chosen
            loss = values.sum() / (values > 0).sum().clamp(min=1)
        return loss, None


def mine(own: Tensor, others: Tensor, different: Tensor, mining: str) -> Tensor:
    """Which items are negatives of each pair of anchor and positive.

    Args:
        own: `(pairs,)` distance of anchor and positive.
        others: `(pairs, batch)` distance of the anchor and every item.
        different: `(pairs, batch)` which of these are of other speakers.
        mining: one of `MINING`.

    Returns:
        `(pairs, batch)` mask.
    """
    if mining == "all":
        return different
    others = others.masked_fill(~different, math.inf)
    picked = others.argmin(dim=1)
    if mining == "semi_hard":
        farther = others.masked_fill(others <= own[:, None], math.inf)
        farthest = others.masked_fill(~different, -math.inf).argmax(dim=1)
        picked = torch.where(farther.isinf().all(dim=1), farthest, farther.argmin(dim=1))
    return F.one_hot(picked, others.shape[1]).bool()
