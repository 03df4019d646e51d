"""Named augmentations, one after the other."""

from collections.abc import Sequence
from typing import Protocol
from zlib import crc32

import numpy as np
from torch import Tensor


class Augmentation(Protocol):
    """What `Chain` needs; the package's docstring has the contract."""

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]: ...

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor: ...


class Chain:
    """Augmentations in the order given; an empty chain changes nothing.

    The order matters: noise that comes after the reverberation has its SNR relative to the reverberant speech.

    Each augmentation draws from a generator of its own, seeded by the item's seed and the augmentation's name. Adding,
    removing or moving one therefore leaves the draws of the others as they were. Two chains drawn with the same seed
    (waveform and spectrum) are independent as long as they share no name.

    Args:
        augmentations: by name.
    """

    def __init__(self, augmentations: dict[str, Augmentation]):
        self.augmentations = dict(augmentations)

    def draw(self, seed: Sequence[int], samples: int) -> dict[str, dict[str, np.ndarray]]:
        """What each augmentation draws for one item, by name.

        Args:
            seed: whole numbers of at least 0 that tell the item apart, always as many: (seed, epoch, position).
            samples: length of the item's waveform.
        """
        return {
            # crc32, since hash() of a string differs from process to process.
            name: augmentation.draw(np.random.default_rng([*seed, crc32(name.encode())]), samples)
            for name, augmentation in self.augmentations.items()
        }

    def apply(self, x: Tensor, drawn: dict[str, dict[str, Tensor]]) -> Tensor:
        """A batch through every augmentation, with what was drawn for its items, stacked."""
        for name, augmentation in self.augmentations.items():
            x = augmentation.apply(x, drawn[name])
        return x
