"""Bands of frequencies removed by notch filters.

The idea is SpeechBrain's (Ravanelli et al.: "SpeechBrain: A General-Purpose Speech Toolkit", 2021).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.filtering import convolve, from_gains
from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range

RESOLUTION_HZ = 15.625  # of the filter's frequency samples; edges are about three of them wide


class BandDropout:
    """Removes random bands from an item by one linear-phase filter whose delay is taken back; bands may overlap.

    Args:
        bands: fewest and most; each number with equal chance.
        width_hz: narrowest and widest band, uniform. Their middles are uniform from 0 to half the sample rate.
        probability: chance that an item loses bands.
        sample_rate: in hertz.

    Raises:
        ValueError: for a range or a probability that is none.
    """

    def __init__(
        self,
        bands: Sequence[int],
        width_hz: Sequence[float],
        probability: float = 1.0,
        sample_rate: int = 16000,
    ):
        self.fewest, self.most = map(int, check_range("bands", bands, 0, 100))
        self.narrowest, self.widest = check_range("width_hz", width_hz, 0, sample_rate / 2)
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate
        self.bins = round(sample_rate / 2 / RESOLUTION_HZ) + 1

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `low` and `high` edges `(most,)` in cycles a sample; equal for bands that are not."""
        drawn = self.neutral(samples)
        if generator.random() < self.probability:
            count = generator.integers(self.fewest, self.most + 1)
            middle = generator.uniform(0.0, 0.5, count)
            half = generator.uniform(self.narrowest, self.widest, count) / (2 * self.sample_rate)
            drawn["low"][:count], drawn["high"][:count] = middle - half, middle + half
        return drawn

    def neutral(self, samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: bands outside of all frequencies, thus the unit impulse."""
        return {"low": -np.ones(self.most, np.float32), "high": -np.ones(self.most, np.float32)}

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `low` and `high` `(batch, most)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            frequency = torch.linspace(0.0, 0.5, self.bins, device=x.device)
            low, high = drawn["low"][..., None], drawn["high"][..., None]  # (batch, most, 1)
            lost = ((frequency >= low) & (frequency <= high)).any(dim=1)  # (batch, most, bins) -> (batch, bins)
            kernel = from_gains(torch.where(lost, 0.0, 1.0))  # (batch, taps)
            return convolve(x.float(), kernel, kernel.shape[-1] // 2)
