"""An overloaded recording: peaks cut off."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range


class Clipping:
    """Cuts an item's samples off at a share of its largest magnitude; the share is uniform in dB.

    What it does therefore depends on no recording's level.

    Args:
        threshold_db: lowest and highest, in dB below the item's peak; -20 cuts off all above a tenth of it.
        probability: chance that an item is clipped.

    Raises:
        ValueError: for a range within -60 to 0 dB or a probability that is none.
    """

    def __init__(self, threshold_db: Sequence[float], probability: float = 1.0):
        self.low, self.high = check_range("threshold_db", threshold_db, -60, 0)
        self.probability = check_probability(probability)

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `share` `()` of its peak, up to 1."""
        chance, level = generator.random(2)
        if chance >= self.probability:
            return self.neutral(samples)
        return {"share": np.array(10.0 ** ((self.low + level * (self.high - self.low)) / 20.0), np.float32)}

    @staticmethod
    def neutral(samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: nothing lies above its peak."""
        return {"share": np.array(1.0, np.float32)}

    @staticmethod
    def apply(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `share` `(batch,)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            limit = x.abs().amax(dim=-1, keepdim=True) * drawn["share"][:, None]  # (batch, 1)
            return torch.clamp(x, -limit, limit)
