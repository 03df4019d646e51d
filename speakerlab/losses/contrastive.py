"""Contrastive loss over the pairs of a batch.

Hadsell, Chopra, LeCun: "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, equation 4. With hard
negatives, for speakers: Chung, Nagrani, Zisserman: "VoxCeleb2: Deep Speaker Recognition", Interspeech 2018, section 4.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.aam import COSINE_LIMIT
from speakerlab.losses.directions import directions
from speakerlab.losses.groups import pairs


class Contrastive(nn.Module):
    """`D^2 / 2` of pairs of one speaker and `max(0, margin - D)^2 / 2` of pairs of two, each kind averaged; `D` is the
    Euclidean distance of embeddings of unit length, `D^2 = 2 - 2 cos`, in float32.

    All pairs of the batch are there, but of the negative ones only the hardest count. VoxCeleb2's authors drew random
    pairs of the corpus and kept the hardest 1 % before they trained on them; here it is a share of the batch's, which
    needs no pass over the corpus. Like theirs, the positives are not chosen: the hardest would be wrong labels.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        margin: two speakers are to be so far apart; 1.4 is about a right angle, and 2 the opposite.
        hardest_share: of the negative pairs, the nearest, that count; 1.0 for all.

    Raises:
        ValueError: if the margin is outside (0, 2] or the share outside (0, 1].
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(self, embed_dim: int, num_speakers: int, margin: float = 1.4, hardest_share: float = 0.05):
        super().__init__()
        if not 0 < margin <= 2:
            raise ValueError(f"margin={margin} must lie above 0, to 2")
        if not 0 < hardest_share <= 1:
            raise ValueError(f"hardest_share={hardest_share} must lie above 0, to 1")
        self.margin = margin
        self.hardest_share = hardest_share

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` with two utterances of a speaker or more -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = directions(embeddings.float())
            cosine = units @ units.T  # (batch, batch)
            same, different = (mask.triu() for mask in pairs(speakers))  # each pair once
            positive = 1.0 - cosine[same]  # (positive pairs,), half the squared distances
            negatives = cosine[different]  # (negative pairs,)
            nearest = negatives.topk(math.ceil(self.hardest_share * len(negatives))).values
            distance = (2.0 - 2.0 * nearest.clamp(max=COSINE_LIMIT)).sqrt()
            negative = 0.5 * F.relu(self.margin - distance).square()
            loss = positive.mean() + negative.mean()
        return loss, None
