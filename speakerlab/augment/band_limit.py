"""A narrow-band recording: what lies outside a random band is removed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.filtering import band_pass, convolve
from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range

TAP_SECONDS = 0.032  # transitions of about 100 Hz


class BandLimit:
    """Keeps an item's frequencies between two random edges, by a linear-phase filter whose delay is taken back.

    Edges are where the level is 6 dB down; the transition is about 100 Hz wide.

    Args:
        low_hz: smallest and largest lower edge, uniform; 0 keeps everything below.
        high_hz: smallest and largest upper edge, uniform; half the sample rate and more keeps everything above.
        probability: chance that an item is filtered.
        sample_rate: in hertz.

    Raises:
        ValueError: for a range or a probability that is none, or if the lower edge may pass the upper one.
    """

    def __init__(
        self,
        low_hz: Sequence[float],
        high_hz: Sequence[float],
        probability: float = 1.0,
        sample_rate: int = 16000,
    ):
        self.low = check_range("low_hz", low_hz, 0, sample_rate / 2)
        self.high = check_range("high_hz", high_hz, 0, float("inf"))
        if self.low[1] >= self.high[0]:
            raise ValueError(f"low_hz={list(low_hz)} must lie below high_hz={list(high_hz)}")
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate
        self.taps = 2 * round(TAP_SECONDS * sample_rate / 2) + 1

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's edges `low` `()` and `high` `()` in cycles a sample."""
        chance, low, high = generator.random(3)
        if chance >= self.probability:
            return self.neutral(samples)
        low_hz = self.low[0] + low * (self.low[1] - self.low[0])
        high_hz = self.high[0] + high * (self.high[1] - self.high[0])
        return {
            "low": np.array(low_hz / self.sample_rate, np.float32),
            "high": np.array(min(high_hz / self.sample_rate, 0.5), np.float32),
        }

    @staticmethod
    def neutral(samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: the whole band, whose filter is the unit impulse."""
        return {"low": np.array(0.0, np.float32), "high": np.array(0.5, np.float32)}

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `low` and `high` `(batch,)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            return convolve(x.float(), band_pass(drawn["low"], drawn["high"], self.taps), self.taps // 2)
