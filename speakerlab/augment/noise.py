"""Recorded noise, music or babble added at an exact signal-to-noise ratio.

Snyder et al.: "X-vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018 (its augmentation with MUSAN).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.clips import Reader, check_clips, read_window
from speakerlab.augment.level import match_level
from speakerlab.augment.probability import check_probability
from speakerlab.augment.ranges import check_range


def add_noise(speech: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Speech plus noise, where 20 log10(rms(speech) / rms(added noise)) is `snr_db`.

    Both levels are measured over the whole crop. Silent speech has no SNR and silent noise can't reach one: such items
    stay as they are.

    Args:
        speech: `(batch, samples)`.
        noise: `(batch, samples)`, at any level.
        snr_db: `(batch,)` in dB; infinity adds nothing.

    Returns:
        `(batch, samples)` float32.
    """
    with torch.autocast(speech.device.type, enabled=False):
        speech, noise = speech.float(), noise.float()
        amplitude = 10.0 ** (-snr_db.float()[:, None] / 20.0)  # (batch, 1), of the noise relative to the speech
        return speech + amplitude * match_level(noise, speech)


class AdditiveNoise:
    """Adds a random window of a random file, every file with equal chance, at an SNR uniform in dB.

    Args:
        folder: where the clips come from, for messages.
        clips: (path, samples, sample rate) of each file, as their headers say.
        read: decodes part of a file; see `clips.Reader`.
        snr_db: lowest and highest SNR in dB.
        probability: chance that an item gets noise.
        sample_rate: of the training audio and of what `read` gives, in hertz.

    Raises:
        ValueError: without clips, or for an SNR range or a probability that is none.
    """

    def __init__(
        self,
        folder: str,
        clips: Sequence[tuple[str, int, int]],
        read: Reader,
        snr_db: Sequence[float],
        probability: float = 1.0,
        sample_rate: int = 16000,
    ):
        self.clips = check_clips(folder, clips)
        self.read = read
        self.low, self.high = check_range("snr_db", snr_db, -math.inf, math.inf)
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `noise` `(samples,)` and `snr_db` `()`; zeros and infinity for an item that is spared."""
        chance, which, position, level = generator.random(4)
        if chance >= self.probability:
            return self.neutral(samples)
        clip = self.clips[int(which * len(self.clips))]
        snr_db = self.low + level * (self.high - self.low)
        return {
            "noise": read_window(clip, self.read, position, samples, self.sample_rate),
            "snr_db": np.array(snr_db, np.float32),
        }

    @staticmethod
    def neutral(samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: silence at an infinite SNR."""
        return {"noise": np.zeros(samples, np.float32), "snr_db": np.array(np.inf, np.float32)}

    @staticmethod
    def apply(x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `noise` `(batch, samples)` at `snr_db` `(batch,)` `-> (batch, samples)`."""
        return add_noise(x, drawn["noise"], drawn["snr_db"])
