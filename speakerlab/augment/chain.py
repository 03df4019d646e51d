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


class Recording(Protocol):
    """What `RecordingChain` needs: a transform of one item that a batch on a GPU can't do, such as a codec."""

    def process(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray: ...


class RecordingChain:
    """Transforms of one item's samples in a data worker, in the order given; seeded like `Chain`.

    Args:
        transforms: by name.
    """

    def __init__(self, transforms: dict[str, Recording]):
        self.transforms = dict(transforms)

    def process(self, seed: Sequence[int], waveform: np.ndarray) -> np.ndarray:
        """`(samples,)` float32 through every transform, as many samples."""
        for name, transform in self.transforms.items():
            waveform = transform.process(waveform, np.random.default_rng([*seed, crc32(name.encode())]))
        return waveform
