"""Babble: several people talking in the background.

Snyder et al.: "X-vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018, which sums 3 to 7 speech files
of MUSAN at 13 to 20 dB.
"""

import math
from collections.abc import Sequence

import numpy as np

from speakerlab.augment.clips import Reader, check_clips, read_window
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range


def mix_talkers(talkers: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of `(samples,)` waveforms, each scaled to RMS 1 so that none drowns the others; silent ones stay silent.

    >>> mix_talkers([np.array([0.5, -0.5]), np.array([0.1, 0.1]), np.zeros(2)])
    array([2., 0.], dtype=float32)
    """
    total = np.zeros(len(talkers[0]), np.float64)
    for talker in talkers:
        level = math.sqrt(np.mean(np.square(talker, dtype=np.float64)))
        total += talker / level if level > 0.0 else 0.0
    return total.astype(np.float32)


class Babble:
    """Adds random windows of several different files, equally loud, at an SNR of their sum that is uniform in dB.

    Args:
        folder: where the clips of speech come from, for messages.
        clips: (path, samples, sample rate) of each file, as their headers say.
        read: decodes part of a file; see `clips.Reader`.
        talkers: fewest and most; each number with equal chance.
        snr_db: lowest and highest SNR in dB.
        probability: chance that an item gets babble.
        sample_rate: of the training audio and of what `read` gives, in hertz.

    Raises:
        ValueError: without clips, for fewer clips than talkers, or for a range or a probability that is none.
    """

    neutral = staticmethod(AdditiveNoise.neutral)
    apply = staticmethod(AdditiveNoise.apply)

    def __init__(
        self,
        folder: str,
        clips: Sequence[tuple[str, int, int]],
        read: Reader,
        talkers: Sequence[int],
        snr_db: Sequence[float],
        probability: float = 1.0,
        sample_rate: int = 16000,
    ):
        self.clips = check_clips(folder, clips)
        self.read = read
        self.fewest, self.most = map(int, check_range("talkers", talkers, 1, math.inf))
        if self.most > len(self.clips):
            raise ValueError(f"talkers={list(talkers)}: the folder {folder} holds only {len(self.clips)} files")
        self.low, self.high = check_range("snr_db", snr_db, -math.inf, math.inf)
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `noise` `(samples,)` and `snr_db` `()`."""
        chance, level = generator.random(2)
        if chance >= self.probability:
            return self.neutral(samples)
        count = generator.integers(self.fewest, self.most + 1)
        chosen = generator.choice(len(self.clips), count, replace=False)
        positions = generator.random(count)
        talkers = [
            read_window(self.clips[which], self.read, position, samples, self.sample_rate)
            for which, position in zip(chosen, positions, strict=True)
        ]
        snr_db = self.low + level * (self.high - self.low)
        return {"noise": mix_talkers(talkers), "snr_db": np.array(snr_db, np.float32)}
