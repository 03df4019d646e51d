"""Speed perturbation: speech played faster or slower, tempo and pitch together.

Ko et al.: "Audio Augmentation for Speech Recognition", Interspeech 2015. As new speakers: Yamamoto et al.: "Speaker
Augmentation and Bandwidth Extension for Deep Speaker Embedding", Interspeech 2019.
"""

from collections.abc import Sequence

import numpy as np


class SpeedPerturbation:
    """Draws how fast an item is played; the reader resamples just the samples that it needs.

    Args:
        factors: of the speed, each with equal chance; 1.1 is a tenth faster and higher.
        new_speakers: whether a speaker at another speed is another speaker, as the pitch suggests. The classes are
            multiplied then; otherwise the label stays.

    Attributes:
        suffixes: of the speakers' names, one a voice: `("", " x0.9", " x1.1")`, or `("",)` without new speakers.

    Raises:
        ValueError: for no factor, one outside 0.5 to 2, one that is there twice, or new speakers without factor 1.
    """

    def __init__(self, factors: Sequence[float] = (0.9, 1.0, 1.1), new_speakers: bool = True):
        if not factors or not all(0.5 <= factor <= 2.0 for factor in factors):
            raise ValueError(f"factors={list(factors)} must be numbers from 0.5 to 2, at least one")
        if len(set(factors)) < len(factors):
            raise ValueError(f"factors={list(factors)} must differ")
        if new_speakers and 1.0 not in factors:
            raise ValueError(f"factors={list(factors)} must include 1.0: new speakers come beside those as recorded")
        self.factors = tuple(map(float, factors))
        others = [factor for factor in self.factors if factor != 1.0] if new_speakers else []
        self.voices = {factor: voice for voice, factor in enumerate(others, start=1)}
        self.suffixes = ("", *(f" x{factor:g}" for factor in others))

    def draw(self, generator: np.random.Generator) -> tuple[float, int]:
        """The item's factor, and its voice: 0 is the speaker as recorded."""
        factor = self.factors[generator.integers(len(self.factors))]
        return factor, self.voices.get(factor, 0)
