"""Mixup: items in between two speakers, with the loss in between.

Zhang et al.: "mixup: Beyond Empirical Risk Minimization", ICLR 2018; on features of speakers: Zhu et al.: "Mixup
Learning Strategies for Text-Independent Speaker Verification", Interspeech 2019.
"""

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.probability import check_probability


def partners(x: Tensor) -> Tensor:
    """For each item of a batch the one to mix it with, half a batch further: `(batch, ...) -> (batch, ...)`.

    Half a batch, since samplers that put several utterances of a speaker into a batch put them side by side.

    >>> partners(torch.tensor([0, 1, 2, 3]))
    tensor([2, 3, 0, 1])
    """
    return x.roll(len(x) // 2, dims=0)


def mix(x: Tensor, weight: Tensor) -> Tensor:
    """`weight * x + (1 - weight) * partners(x)`, in float32.

    Args:
        x: `(batch, ...)`.
        weight: `()`.
    """
    with torch.autocast(x.device.type, enabled=False):
        return torch.lerp(partners(x).float(), x.float(), weight.float())


class Mixup:
    """Draws the weight of a batch; `SpeakerSystem` mixes features and losses by it.

    Every item draws one, a pure function of its seed, and a batch takes that of its first item: the loss of a batch is
    one number, so that its items can't be weighted apart.

    Args:
        alpha: of the Beta(alpha, alpha) distribution of the weight: the smaller, the nearer to 0 or 1.
        probability: chance that a batch is mixed.

    Raises:
        ValueError: for an alpha that is not positive or a probability that is none.
    """

    def __init__(self, alpha: float = 0.2, probability: float = 1.0):
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha={alpha} must be positive and finite")
        self.alpha = alpha
        self.probability = check_probability(probability)

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """An item's weight `()` float32 in [0, 1]; 1 mixes nothing."""
        mixed = generator.random() < self.probability
        return np.array(generator.beta(self.alpha, self.alpha) if mixed else 1.0, np.float32)
