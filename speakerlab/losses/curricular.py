"""CurricularFace: an angular margin that minds hard items more the further training has come.

Huang, Wang, Tai, Liu, Shen, Li, Li, Huang: "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
Recognition", CVPR 2020, section 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.aam import add_angular_margin
from speakerlab.losses.cosine_classifier import CosineClassifier


class CurricularFace(nn.Module):
    """`AamSoftmax` in which the cosine c with another speaker that is greater than the own `cos(theta + margin)` counts
    as `c (t + c)`, in float32: less than c while t is small, more in the end.

    t is a moving average of the batches' mean cosine with the own speaker, from 0. As in the authors' code, a batch
    counts towards the t that it is trained with.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: in radians.
        scale: of the cosines (s in the paper).
        momentum: of t (alpha in the paper).
        sampled_share: see `CosineClassifier`.

    Attributes:
        margin_share: of the margin; a schedule may set it while training.
        t: a buffer, so that it survives a resume.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.2,
        scale: float = 32.0,
        momentum: float = 0.99,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(f"margin={margin} must be between 0 and pi / 2")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} must lie from 0 to below 1")
        self.margin = margin
        self.margin_share = 1.0
        self.scale = scale
        self.momentum = momentum
        self.classifier = CosineClassifier(embed_dim, num_speakers, sampled_share=sampled_share)
        self.register_buffer("t", torch.zeros(()))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            own = cosine.gather(1, columns[:, None])
            t = self.t
            if self.training:
                t = self._advanced(own.detach())
                self.t.copy_(t)  # in place, since DDP keeps hold of the buffer that it sends round
            own = add_angular_margin(own, self.margin_share * self.margin)
            others = torch.where(cosine > own, cosine * (t + cosine), cosine)
            loss = F.cross_entropy(self.scale * others.scatter(1, columns[:, None], own), columns)
        return loss, self.classifier.logits(self.scale * cosine, classes)

    def _advanced(self, own: Tensor) -> Tensor:
        """t after cosines `(batch, 1)` with the own speakers; the last one if these are not finite."""
        t = torch.lerp(own.mean(), self.t, self.momentum)
        return torch.where(t.isfinite(), t, self.t)
