"""Contrastive-center loss.

Qi, Su: "Contrastive-Center Loss for Deep Neural Networks", ICIP 2017, equation 3.
"""

import math

import torch
from torch import Tensor, nn


class ContrastiveCenterLoss(nn.Module):
    """Half the squared distance of each embedding to its speaker's learned centre over the sum of those to all other
    centres plus `delta`, the mean over the batch (the paper sums), in float32. To be added to a classification loss.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        delta: keeps the quotient finite.

    Raises:
        ValueError: if `delta` is not positive.
    """

    def __init__(self, embed_dim: int, num_speakers: int, delta: float = 1.0):
        super().__init__()
        if not 0 < delta < math.inf:
            raise ValueError(f"delta={delta} must be positive")
        self.delta = delta
        self.centers = nn.Parameter(torch.randn(num_speakers, embed_dim))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, centers = embeddings.float(), self.centers
            own = (embeddings - centers[speakers]).square().sum(dim=1)  # (batch,)
            # Sum over centres of |x|^2 - 2 x c + |c|^2, without a distance for each pair.
            everyone = (
                len(centers) * embeddings.square().sum(dim=1)
                - 2.0 * embeddings @ centers.sum(dim=0)
                + centers.square().sum()
            )
            others = (everyone - own).clamp(min=0.0)
            loss = 0.5 * (own / (others + self.delta)).mean()
        return loss, None
