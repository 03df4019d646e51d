"""AdaCos: a cosine softmax that finds its own scale.

Zhang, Zhao, Qiao, Wang, Li: "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face
Representations", CVPR 2019, section 4.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.cosine_classifier import CosineClassifier

LEAST_SCALE = 1.0  # with few speakers the formula gives less, with two even a negative scale


class AdaCos(nn.Module):
    """Cross entropy of `scale * cos(theta_j)` without a margin, in float32.

    The scale starts at `sqrt(2) ln(num_speakers - 1)` (as for three speakers where there are two) and, if `dynamic`,
    follows the batches of training: `ln(B) / cos(min(pi / 4, median angle to the own speaker))`, where B is the mean
    over the batch of the sum over the other speakers of `exp(scale cos(theta_j))` with the last scale. As embeddings
    get nearer to their speaker it falls, so that they go on being pulled.

    The paper does not sample classes; where they are, B is the sum over those looked at.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        dynamic: whether the scale follows the batches; if not, it stays as it starts.
        sampled_share: see `CosineClassifier`.

    Attributes:
        scale: a buffer, so that it survives a resume.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(self, embed_dim: int, num_speakers: int, dynamic: bool = True, sampled_share: float = 1.0):
        super().__init__()
        self.dynamic = dynamic
        self.classifier = CosineClassifier(embed_dim, num_speakers, sampled_share=sampled_share)
        start = math.sqrt(2.0) * math.log(max(num_speakers - 1, 2))
        self.register_buffer("scale", torch.tensor(start))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            scale = self.scale
            if self.dynamic and self.training:
                scale = self._adapted(cosine.detach(), columns)
                self.scale.copy_(scale)  # in place, since DDP keeps hold of the buffer that it sends round
            logits = scale * cosine
            loss = F.cross_entropy(logits, columns)
        return loss, self.classifier.logits(logits, classes)

    def _adapted(self, cosine: Tensor, columns: Tensor) -> Tensor:
        """The scale for cosines `(batch, classes)`; the last one if these are not finite."""
        others = (self.scale * cosine).scatter(1, columns[:, None], -math.inf)
        log_b = others.logsumexp(dim=(0, 1)) - math.log(len(cosine))
        median = cosine.gather(1, columns[:, None]).median()
        scale = (log_b / median.clamp(min=math.sqrt(0.5))).clamp(min=LEAST_SCALE)
        return torch.where(scale.isfinite(), scale, self.scale)
