"""All that is done to training audio, in one object."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from speakerlab.augment.chain import Chain, RecordingChain


class Speed(Protocol):
    """Draws how fast an item is played, and which of the voices of its speaker that makes (0 is the own one)."""

    voices: int

    def draw(self, generator: np.random.Generator) -> tuple[float, int]: ...


@dataclass(frozen=True)
class Recipe:
    """The order of things: speed, recording (both in a data worker), waveform, spectrum (both on the batch's device).

    Attributes:
        speed_perturbation: how fast an item is read, and as which speaker; None is as it was spoken.
        recording: codecs and the like, on one item's samples in the worker.
        waveform: on `(batch, samples)`.
        spectrum: on `(batch, frames, dim)`.
    """

    speed_perturbation: Speed | None = None
    recording: RecordingChain = field(default_factory=lambda: RecordingChain({}))
    waveform: Chain = field(default_factory=lambda: Chain({}))
    spectrum: Chain = field(default_factory=lambda: Chain({}))

    @property
    def voices(self) -> int:
        """By how much the number of speakers grows."""
        return self.speed_perturbation.voices if self.speed_perturbation else 1

    def speed(self, seed: Sequence[int]) -> tuple[float, int]:
        """The item's speed and voice."""
        if self.speed_perturbation is None:
            return 1.0, 0
        return self.speed_perturbation.draw(np.random.default_rng([*seed, SPEED]))

    def record(self, seed: Sequence[int], waveform: np.ndarray) -> np.ndarray:
        """The item's samples `(samples,)` through the recording chain, as many."""
        return self.recording.process(seed, waveform)

    def draw(self, seed: Sequence[int], samples: int) -> dict[str, dict]:
        """What the two chains on the device need for the item."""
        return {
            "waveform_draws": self.waveform.draw(seed, samples),
            "spectrum_draws": self.spectrum.draw(seed, samples),
        }


SPEED = 0x5EED  # apart from the crc32 of any chain member's name
