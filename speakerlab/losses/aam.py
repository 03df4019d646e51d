"""Additive angular margin softmax (ArcFace), with sub-centres, inter-top-k penalty and sampled classes as options.

Deng, Guo, Xue, Zafeiriou: "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, equation 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.cosine_classifier import CosineClassifier
from speakerlab.losses.inter_top_k import check_top_k, penalise_nearest

# Half of float32's spacing below 1 is 3e-8; at 1 - 1e-6 the sine is 1.4e-3 and its slope 700, finite in 16 bits too.
COSINE_LIMIT = 1.0 - 1e-6


def add_angular_margin(cosine: Tensor, margin: float | Tensor, easy_margin: bool = False) -> Tensor:
    """`cos(theta + margin)`, continued so that it falls monotonically over all angles.

    Where `theta + margin` would pass pi, the cosine turns back up; there `cos(theta) - margin sin(margin)` goes on
    downwards, or, with `easy_margin`, the margin applies only to angles under 90 degrees.

    Args:
        cosine: any shape, in [-1, 1]; exact 1 and -1 give finite values and gradients.
        margin: in radians; one for all, or of the cosines' shape.
    """
    margin = torch.as_tensor(margin, dtype=cosine.dtype)
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    sine = (1.0 - clamped.square()).sqrt()
    shifted = clamped * margin.cos() - sine * margin.sin()
    if easy_margin:
        return torch.where(cosine > 0, shifted, cosine)
    return torch.where(cosine > -margin.cos(), shifted, cosine - margin * margin.sin())


def subtract_angular_margin(cosine: Tensor, margin: float) -> Tensor:
    """`cos(theta - margin)`, the mirror image of `add_angular_margin`: it rises monotonically."""
    return -add_angular_margin(-cosine, margin)


class AamSoftmax(nn.Module):
    """Cross entropy of `scale * cos(theta_j + margin [j is the speaker])`, in float32.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: in radians.
        scale: of the cosines (s in the paper).
        easy_margin: see `add_angular_margin`.
        subcenters, sampled_share: see `CosineClassifier`.
        top_k: other speakers nearest to an item whose angles count as smaller by `top_k_margin`; 0 for none. See
            `speakerlab.losses.inter_top_k`.
        top_k_margin: in radians.

    Attributes:
        margin_share: of the margins; a schedule may set it while training.

    Raises:
        ValueError: if the margin is outside [0, pi / 2] (from 2.33 on the continuation would rise), or another value
            out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.2,
        scale: float = 32.0,
        easy_margin: bool = False,
        subcenters: int = 1,
        top_k: int = 0,
        top_k_margin: float = 0.06,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(f"margin={margin} must be between 0 and pi / 2")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        check_top_k(top_k, top_k_margin)
        self.margin = margin
        self.margin_share = 1.0
        self.scale = scale
        self.easy_margin = easy_margin
        self.top_k = top_k
        self.top_k_margin = top_k_margin
        self.classifier = CosineClassifier(embed_dim, num_speakers, subcenters, sampled_share)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            own = cosine.gather(1, columns[:, None])
            own = add_angular_margin(own, self.margin_share * self.margin, self.easy_margin)
            top_k_margin = self.margin_share * self.top_k_margin
            others = penalise_nearest(
                cosine, columns, self.top_k, lambda nearest: subtract_angular_margin(nearest, top_k_margin)
            )
            loss = F.cross_entropy(self.scale * others.scatter(1, columns[:, None], own), columns)
        return loss, self.classifier.logits(self.scale * cosine, classes)
