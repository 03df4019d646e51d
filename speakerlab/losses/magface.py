"""MagFace: an angular margin that grows with the embedding's length, which comes to tell how good a recording is.

Meng, Zhao, Huang, Zhou: "MagFace: A Universal Representation for Face Recognition and Quality Assessment", CVPR 2021,
section 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.aam import add_angular_margin
from speakerlab.losses.cosine_classifier import CosineClassifier


class MagFace(nn.Module):
    """`AamSoftmax` whose margin rises linearly from `lower_margin` for embeddings of `lower_length` to `upper_margin`
    for `upper_length`, plus `length_weight * (length / upper_length^2 + 1 / length)`, which asks for length, in
    float32.

    Lengths beyond the two limits count as these, as in the authors' code. The margin makes length costly, the most for
    items far from their speaker: clear recordings get long embeddings. Since the two must balance, a schedule's share
    of the margin is also taken of `length_weight`.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        lower_margin, upper_margin: in radians (l_m and u_m in the paper).
        lower_length, upper_length: l_a and u_a.
        length_weight: lambda_g.
        scale: of the cosines (s).
        easy_margin: see `add_angular_margin`.
        sampled_share: see `CosineClassifier`.

    Attributes:
        margin: the lower one.
        margin_share: of the margins; a schedule may set it while training.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        lower_margin: float = 0.2,
        upper_margin: float = 0.4,
        lower_length: float = 10.0,
        upper_length: float = 110.0,
        length_weight: float = 10.0,
        scale: float = 32.0,
        easy_margin: bool = False,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= lower_margin <= upper_margin <= math.pi / 2:
            raise ValueError(
                f"lower_margin={lower_margin} and upper_margin={upper_margin} must be in order, between 0 and pi / 2"
            )
        if not 0 < lower_length < upper_length < math.inf:
            raise ValueError(
                f"lower_length={lower_length} and upper_length={upper_length} must be positive and in order"
            )
        if not 0 <= length_weight < math.inf:
            raise ValueError(f"length_weight={length_weight} must be at least 0")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        self.margin = lower_margin
        self.margin_share = 1.0
        self.upper_margin = upper_margin
        self.lower_length = lower_length
        self.upper_length = upper_length
        self.length_weight = length_weight
        self.scale = scale
        self.easy_margin = easy_margin
        self.classifier = CosineClassifier(embed_dim, num_speakers, sampled_share=sampled_share)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            cosine, columns, classes = self.classifier(embeddings, speakers)
            lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)  # (batch, 1)
            lengths = lengths.clamp(self.lower_length, self.upper_length)
            slope = (self.upper_margin - self.margin) / (self.upper_length - self.lower_length)
            margins = self.margin_share * (self.margin + slope * (lengths - self.lower_length))  # (batch, 1)
            own = add_angular_margin(cosine.gather(1, columns[:, None]), margins, self.easy_margin)
            loss = F.cross_entropy(self.scale * cosine.scatter(1, columns[:, None], own), columns)
            for_length = (lengths / self.upper_length**2 + 1.0 / lengths).mean()
            loss = loss + self.margin_share * self.length_weight * for_length
        return loss, self.classifier.logits(self.scale * cosine, classes)
