"""SphereFace2: a binary classifier for each speaker.

Wen, Liu, Weller, Raj, Singh: "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", ICLR 2022,
section 3; for speakers: Han, Chen, Qian: "Exploring Binary Classification Loss for Speaker Verification", ICASSP 2023.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.aam import add_angular_margin, subtract_angular_margin
from speakerlab.losses.cosine_classifier import CosineClassifier


def spread(cosine: Tensor, exponent: float) -> Tensor:
    """`2 ((cos + 1) / 2)^t - 1` (g in the paper): makes more of differences between small angles than between wide."""
    return 2.0 * ((cosine + 1.0) / 2.0).clamp(min=0.0) ** exponent - 1.0


def balanced_bias(own: float, others: float, count: int, positive_share: float) -> float:
    """The bias at which the loss of one logit `own` and `count` logits `others`, to which it is added, is least.

    Where the loss pulls as hard as it pushes, `share / (1 + u e^own) = (1 - share) count u e^others / (1 + u e^others)`
    for the exponential u of the bias: a quadratic equation.
    """
    z = positive_share / ((1.0 - positive_share) * count)
    root = math.sqrt((1.0 - z) ** 2 + 4.0 * z * math.exp(own - others))
    if z > 1.0:  # of the two forms of its solution, each cancels out where the other does not
        return math.log((z - 1.0 + root) / 2.0) - own
    return math.log(2.0 * z / (1.0 - z + root)) - others


class SphereFace2(nn.Module):
    """Each speaker's own "is it this one?", in float32: the mean over the batch of

        `share * ln(1 + exp(-(scale (g(cos(theta_y)) - margin) + bias)))
        + (1 - share) * sum_j ln(1 + exp(scale (g(cos(theta_j)) + margin) + bias))`

    where y is the speaker and j runs over the others, g is `spread`, and the bias is learned. It starts where the loss
    is least while all cosines are 0, as in the first paper's code; from 0 it would take thousands of steps until other
    speakers count. That is margin type C; type A has the margin in the angle: `g(cos(theta_y + margin))` and
    `g(cos(theta_j - margin))`.

    As Han et al.; the first paper divides all by the scale, and its type A has no margin for the others.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        margin: of the cosine for type C, in radians for A.
        margin_type: `C` or `A`.
        scale: of the cosines (r in the paper).
        positive_share: weight of the own speaker's term (lambda).
        exponent: of g (t).
        sampled_share: see `CosineClassifier`; the sum is over those looked at.

    Attributes:
        margin_share: of the margin; a schedule may set it while training.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(
        self,
        embed_dim: int,
        num_speakers: int,
        margin: float = 0.2,
        margin_type: str = "C",
        scale: float = 30.0,
        positive_share: float = 0.7,
        exponent: float = 3.0,
        sampled_share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin} must lie in [0, 1]")
        if margin_type not in ("A", "C"):
            raise ValueError(f"margin_type={margin_type} must be A or C")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        if not 0 < positive_share < 1:
            raise ValueError(f"positive_share={positive_share} must lie between 0 and 1")
        if not 1 <= exponent < math.inf:
            raise ValueError(f"exponent={exponent} must be at least 1")
        self.margin = margin
        self.margin_share = 1.0
        self.margin_type = margin_type
        self.scale = scale
        self.positive_share = positive_share
        self.exponent = exponent
        self.classifier = CosineClassifier(embed_dim, num_speakers, sampled_share=sampled_share)
        self.bias = nn.Parameter(torch.tensor(self._start(max(1, math.ceil(sampled_share * num_speakers) - 1))))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits without the margin."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine, columns, classes = self.classifier(embeddings.float(), speakers)
            own, others = self._with_margin(cosine.gather(1, columns[:, None]), cosine)
            positive = F.softplus(-(self.scale * own + self.bias)).squeeze(1)  # (batch,)
            # -inf in the speaker's own column, of which softplus is 0
            negative = (self.scale * others + self.bias).scatter(1, columns[:, None], -math.inf)
            negative = F.softplus(negative).sum(dim=1)  # (batch,)
            loss = (self.positive_share * positive + (1.0 - self.positive_share) * negative).mean()
            logits = self.scale * spread(cosine.detach(), self.exponent) + self.bias
        return loss, self.classifier.logits(logits, classes)

    def _start(self, others: int) -> float:
        """The bias to begin with, for so many other speakers."""

        def logit(cosine: float, margin: float) -> float:
            return self.scale * (2.0 * ((cosine + 1.0) / 2.0) ** self.exponent - 1.0 + margin)

        if self.margin_type == "A":  # cos(pi / 2 + margin) and cos(pi / 2 - margin)
            sine = math.sin(self.margin)
            return balanced_bias(logit(-sine, 0.0), logit(sine, 0.0), others, self.positive_share)
        return balanced_bias(logit(0.0, -self.margin), logit(0.0, self.margin), others, self.positive_share)

    def _with_margin(self, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """The two kinds of cosines, spread, the margin taken from the one and added to the other."""
        margin = self.margin_share * self.margin
        if self.margin_type == "A":
            own, others = add_angular_margin(own, margin), subtract_angular_margin(others, margin)
            return spread(own, self.exponent), spread(others, self.exponent)
        return spread(own, self.exponent) - margin, spread(others, self.exponent) + margin
