"""A random level."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range


class Gain:
    """Amplifies an item by a factor that is uniform in dB.

    Args:
        gain_db: smallest and largest, in dB; negative is quieter.
        probability: chance that an item is amplified.

    Raises:
        ValueError: for a range within -100 to 100 dB or a probability that is none.
    """

    def __init__(self, gain_db: Sequence[float], probability: float = 1.0):
        self.low, self.high = check_range("gain_db", gain_db, -100, 100)
        self.probability = check_probability(probability)

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `factor` `()`."""
        chance, level = generator.random(2)
        if chance >= self.probability:
            return self.neutral(samples)
        return {"factor": np.array(10.0 ** ((self.low + level * (self.high - self.low)) / 20.0), np.float32)}

    @staticmethod
    def neutral(samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: a factor of 1."""
        return {"factor": np.array(1.0, np.float32)}

    @staticmethod
    def apply(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `factor` `(batch,)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            return x.float() * drawn["factor"][:, None]
