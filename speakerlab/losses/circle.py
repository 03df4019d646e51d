"""Circle loss over speakers.

Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei: "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR
2020, section 3, with class-level labels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.cosine_classifier import CosineClassifier


class CircleLoss(nn.Module):
    """Cross entropy of `scale * [1 + margin - c]+ * (c - 1 + margin)` for the cosine c with the speaker and
    `scale * [c + margin]+ * (c - margin)` for the cosines with others, in float32.

    The factors in brackets, which no gradient passes, pull the harder the farther a cosine is from its best: 1 and 0.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: m in the paper; it relaxes as well as separates: cosines over 1 - margin and under margin are good.
        scale: gamma in the paper.
        sampled_share: see `CosineClassifier`.

    Attributes:
        margin_share: of the margin; a schedule may set it while training.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.35,
        scale: float = 60.0,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin} must lie in [0, 1]")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        self.margin = margin
        self.margin_share = 1.0
        self.scale = scale
        self.classifier = CosineClassifier(embed_dim, num_speakers, sampled_share=sampled_share)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` scaled cosines."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            margin = self.margin_share * self.margin
            own = cosine.gather(1, columns[:, None])
            own = (1.0 + margin - own.detach()).clamp(min=0.0) * (own - (1.0 - margin))
            others = (cosine.detach() + margin).clamp(min=0.0) * (cosine - margin)
            loss = F.cross_entropy(self.scale * others.scatter(1, columns[:, None], own), columns)
        return loss, self.classifier.logits(self.scale * cosine, classes)
