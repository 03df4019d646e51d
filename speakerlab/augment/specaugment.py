"""SpecAugment: blocks of frames and blocks of bins masked, drawn for each item.

Park et al.: "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech 2019
(without time warping, which it found to matter least).
"""

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.probability import check_probability


def block_mask(uniforms: Tensor, size: int, max_width: int) -> Tensor:
    """The union of blocks along an axis: widths uniform over 0 ... max_width, starts over all where the block fits.

    Args:
        uniforms: `(batch, masks, 2)` in [0, 1): width and start of each block.
        size: length of the axis, to which blocks are limited.
        max_width: of a block.

    Returns:
        `(batch, size)` bool, true where masked.

    >>> block_mask(torch.tensor([[[0.9, 0.5]], [[0.0, 0.5]]]), size=6, max_width=2).int()
    tensor([[0, 0, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    width_draw, start_draw = uniforms[..., :1].float(), uniforms[..., 1:].float()  # (batch, masks, 1)
    # The clamps catch products that float32 rounds up to the excluded end.
    width = (width_draw * (max_width + 1)).floor().clamp(max=min(max_width, size))
    start = torch.minimum((start_draw * (size - width + 1.0)).floor(), size - width)
    position = torch.arange(size, device=uniforms.device)
    return ((position >= start) & (position < start + width)).any(dim=1)  # (batch, masks, size) -> (batch, size)


class SpecAugment:
    """Masks blocks of frames and of bins in features `(batch, frames, dim)` or `(batch, channels, frames, dim)`.

    Masked values become the mean of the item's features (of each channel): the 0 of the paper where features are
    mean-normalised, and nothing out of range where they are not. All channels share an item's masks.

    The defaults are those of Desplanques et al.: "ECAPA-TDNN", Interspeech 2020.

    Args:
        time_masks: blocks of frames for each item; they may overlap.
        max_time_frames: widest block of frames.
        freq_masks: blocks of bins for each item.
        max_freq_bins: widest block of bins.
        probability: chance that an item is masked.

    Raises:
        ValueError: if a count or a width is negative, or for a probability that is none.
    """

    def __init__(
        self,
        time_masks: int = 1,
        max_time_frames: int = 5,
        freq_masks: int = 1,
        max_freq_bins: int = 10,
        probability: float = 1.0,
    ):
        counts = {
            "time_masks": time_masks,
            "max_time_frames": max_time_frames,
            "freq_masks": freq_masks,
            "max_freq_bins": max_freq_bins,
        }
        for name, count in counts.items():
            if count < 0 or count != int(count):
                raise ValueError(f"{name}={count} must be a whole number of at least 0")
        self.time_masks = time_masks
        self.max_time_frames = max_time_frames
        self.freq_masks = freq_masks
        self.max_freq_bins = max_freq_bins
        self.probability = check_probability(probability)

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `time` `(time_masks, 2)` and `freq` `(freq_masks, 2)`: width and start, uniform in [0, 1).

        `apply` scales them by the frames and bins that it finds.
        """
        if generator.random() >= self.probability:
            return self.neutral(samples)
        return {
            "time": generator.random((self.time_masks, 2), np.float32),
            "freq": generator.random((self.freq_masks, 2), np.float32),
        }

    def neutral(self, samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: blocks of width 0."""
        return {
            "time": np.zeros((self.time_masks, 2), np.float32),
            "freq": np.zeros((self.freq_masks, 2), np.float32),
        }

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Features with `time` `(batch, time_masks, 2)` and `freq` `(batch, freq_masks, 2)` `->` the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            frames, dim = x.shape[-2:]
            time = block_mask(drawn["time"], frames, self.max_time_frames)  # (batch, frames)
            freq = block_mask(drawn["freq"], dim, self.max_freq_bins)  # (batch, dim)
            mask = time[:, :, None] | freq[:, None, :]  # (batch, frames, dim)
            if x.ndim == 4:
                mask = mask[:, None]  # (batch, 1, frames, dim), over the channels
            return torch.where(mask, x.mean(dim=(-2, -1), keepdim=True), x)
