"""Pieces of time silenced, as if packets were lost.

The idea is SpeechBrain's (Ravanelli et al.: "SpeechBrain: A General-Purpose Speech Toolkit", 2021).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range


class ChunkDropout:
    """Sets random chunks of an item to zero; they may overlap.

    Args:
        chunks: fewest and most; each number with equal chance.
        seconds: shortest and longest chunk, uniform.
        probability: chance that an item loses chunks.
        sample_rate: in hertz.

    Raises:
        ValueError: for a range or a probability that is none.
    """

    def __init__(
        self,
        chunks: Sequence[int],
        seconds: Sequence[float],
        probability: float = 1.0,
        sample_rate: int = 16000,
    ):
        self.fewest, self.most = map(int, check_range("chunks", chunks, 0, 100))
        self.shortest, self.longest = check_range("seconds", seconds, 0, 60)
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `start` and `end` `(most,)` of each chunk, in samples; equal for those that are not."""
        drawn = self.neutral(samples)
        if generator.random() < self.probability:
            count = generator.integers(self.fewest, self.most + 1)
            seconds = generator.uniform(self.shortest, self.longest, count)
            widths = np.minimum(np.rint(seconds * self.sample_rate), samples)
            starts = np.floor(generator.random(count) * (samples - widths + 1))
            drawn["start"][:count], drawn["end"][:count] = starts, starts + widths
        return drawn

    def neutral(self, samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: chunks of no samples."""
        return {"start": np.zeros(self.most, np.float32), "end": np.zeros(self.most, np.float32)}

    @staticmethod
    def apply(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `start` and `end` `(batch, most)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            position = torch.arange(x.shape[-1], device=x.device)
            start, end = drawn["start"][..., None], drawn["end"][..., None]  # (batch, most, 1)
            lost = ((position >= start) & (position < end)).any(dim=1)  # (batch, most, samples) -> (batch, samples)
            return torch.where(lost, 0.0, x.float())
