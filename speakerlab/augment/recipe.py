"""All that is done to training audio, in one object."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from speakerlab.augment.chain import Chain, RecordingChain
from speakerlab.augment.mixup import Mixup


class Speed(Protocol):
    """Draws how fast an item is played, and which of the voices of its speaker that makes.

    Attributes:
        suffixes: of a speaker's name, one a voice; the first voice is the speaker's own and has none ("").
    """

    suffixes: tuple[str, ...]

    def draw(self, generator: np.random.Generator) -> tuple[float, int]: ...


@dataclass(frozen=True)
class Recipe:
    """The order of things: speed, recording (both in a data worker), waveform, spectrum (both on the batch's device).

    Attributes:
        speed_perturbation: how fast an item is read, and as which speaker; None is as it was spoken.
        recording: codecs and the like, on one item's samples in the worker.
        waveform: on `(batch, samples)`.
        spectrum: on `(batch, frames, dim)`.
        mixup: of the items of a batch, after everything else; None mixes none.
        notes: what a user should know of it, a line each.
    """

    speed_perturbation: Speed | None = None
    recording: RecordingChain = field(default_factory=lambda: RecordingChain({}))
    waveform: Chain = field(default_factory=lambda: Chain({}))
    spectrum: Chain = field(default_factory=lambda: Chain({}))
    mixup: Mixup | None = None
    notes: tuple[str, ...] = ()

    @property
    def changes_anything(self) -> bool:
        """Whether it does more than to leave items as they are."""
        chains = self.recording.transforms, self.waveform.augmentations, self.spectrum.augmentations
        return self.speed_perturbation is not None or self.mixup is not None or any(chains)

    def class_names(self, speakers: Sequence[str]) -> list[str]:
        """The classes of the speakers in their order: voice v of speaker s is class `s + v * len(speakers)`."""
        suffixes = self.speed_perturbation.suffixes if self.speed_perturbation else ("",)
        return [f"{speaker}{suffix}" for suffix in suffixes for speaker in speakers]

    def speed(self, seed: Sequence[int]) -> tuple[float, int]:
        """The item's speed and voice."""
        if self.speed_perturbation is None:
            return 1.0, 0
        return self.speed_perturbation.draw(np.random.default_rng([*seed, SPEED]))

    def record(self, seed: Sequence[int], waveform: np.ndarray) -> np.ndarray:
        """The item's samples `(samples,)` through the recording chain, as many."""
        return self.recording.process(seed, waveform)

    def draw(self, seed: Sequence[int], samples: int) -> dict[str, Any]:
        """What the two chains on the device, and mixup, need for the item."""
        drawn = {
            "waveform_draws": self.waveform.draw(seed, samples),
            "spectrum_draws": self.spectrum.draw(seed, samples),
        }
        if self.mixup is not None:
            drawn["mixup_weight"] = self.mixup.draw(np.random.default_rng([*seed, MIXUP]))
        return drawn


# Apart from each other and, in all likelihood, from the crc32 of a chain member's name.
SPEED, MIXUP = 0x5EED, 0x313D
