"""Center loss.

Wen, Zhang, Li, Qiao: "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equation 2.
"""

import torch
from torch import Tensor, nn


class CenterLoss(nn.Module):
    """Half the squared distance of each embedding to its speaker's learned centre, the mean over the batch (the paper
    sums), in float32. To be added to a classification loss: alone, all embeddings and centres would meet in a point.

    The paper moves a centre by the mean of its differences; here the centres follow the gradient by an optimizer of
    their own.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
    """

    def __init__(self, embed_dim: int, num_speakers: int):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_speakers, embed_dim))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            differences = embeddings.float() - self.centers[speakers]  # (batch, embed_dim)
            loss = 0.5 * differences.square().sum(dim=1).mean()
        return loss, None
