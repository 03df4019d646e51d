"""Additive margin softmax (CosFace), with sub-centres, inter-top-k penalty and sampled classes as options.

Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu: "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018,
equation 4; also Wang, Cheng, Liu, Liu: "Additive Margin Softmax for Face Verification", IEEE Signal Processing Letters,
2018.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.cosine_classifier import CosineClassifier
from speakerlab.losses.inter_top_k import check_top_k, penalise_nearest


class AmSoftmax(nn.Module):
    """Cross entropy of `scale * (cos(theta_j) - margin [j is the speaker])`, in float32.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: of the cosine.
        scale: of the cosines (s in the paper).
        subcenters, sampled_share: see `CosineClassifier`.
        top_k: other speakers nearest to an item whose cosines count as larger by `top_k_margin`; 0 for none. See
            `speakerlab.losses.inter_top_k`.
        top_k_margin: of the cosine.

    Attributes:
        margin_share: of the margins; a schedule may set it while training.

    Raises:
        ValueError: if the margin is outside [0, 1], or another value out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.2,
        scale: float = 32.0,
        subcenters: int = 1,
        top_k: int = 0,
        top_k_margin: float = 0.06,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin} must lie in [0, 1]")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        check_top_k(top_k, top_k_margin)
        self.margin = margin
        self.margin_share = 1.0
        self.scale = scale
        self.top_k = top_k
        self.top_k_margin = top_k_margin
        self.classifier = CosineClassifier(embed_dim, num_speakers, subcenters, sampled_share)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            own = cosine.gather(1, columns[:, None]) - self.margin_share * self.margin
            top_k_margin = self.margin_share * self.top_k_margin
            others = penalise_nearest(cosine, columns, self.top_k, lambda nearest: nearest + top_k_margin)
            loss = F.cross_entropy(self.scale * others.scatter(1, columns[:, None], own), columns)
        return loss, self.classifier.logits(self.scale * cosine, classes)
