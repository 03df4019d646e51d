"""Additive angular margin softmax (ArcFace).

Deng, Guo, Xue, Zafeiriou: "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, equation 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Half of float32's spacing below 1 is 3e-8; at 1 - 1e-6 the sine is 1.4e-3 and its slope 700, finite in 16 bits too.
COSINE_LIMIT = 1.0 - 1e-6


def add_angular_margin(cosine: Tensor, margin: float, easy_margin: bool = False) -> Tensor:
    """`cos(theta + margin)`, continued so that it falls monotonically over all angles.

    Where `theta + margin` would pass pi, the cosine turns back up; there `cos(theta) - margin sin(margin)` goes on
    downwards, or, with `easy_margin`, the margin applies only to angles under 90 degrees.

    Args:
        cosine: any shape, in [-1, 1]; exact 1 and -1 give finite values and gradients.
        margin: in radians.
    """
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    sine = (1.0 - clamped.square()).sqrt()
    shifted = clamped * math.cos(margin) - sine * math.sin(margin)
    if easy_margin:
        return torch.where(cosine > 0, shifted, cosine)
    return torch.where(cosine > math.cos(math.pi - margin), shifted, cosine - margin * math.sin(margin))


class AamSoftmax(nn.Module):
    """Cross entropy of `scale * cos(theta_j + margin [j is the speaker])`, in float32.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: in radians; a schedule may set `loss.margin` while training.
        scale: of the cosines (s in the paper).
        easy_margin: see `add_angular_margin`.

    Raises:
        ValueError: if the margin is outside [0, pi / 2] (from 2.33 on the continuation would rise) or the scale is not
            positive.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
    ):
        super().__init__()
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(f"margin={margin} must be between 0 and pi / 2")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        self.margin = margin
        self.scale = scale
        self.easy_margin = easy_margin
        self.weight = nn.Parameter(torch.empty(num_speakers, embed_dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine = F.linear(F.normalize(embeddings.float()), F.normalize(self.weight.float()))
            target = cosine.gather(1, speakers[:, None])
            with_margin = cosine.scatter(
                1, speakers[:, None], add_angular_margin(target, self.margin, self.easy_margin)
            )
            loss = F.cross_entropy(self.scale * with_margin, speakers)
        return loss, self.scale * cosine.detach()
