"""Convolution and max pooling over frequency and time, the plain kind."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.convolution2d import ConvNorm2d
from speakerlab.encoders.layers.masking import apply_mask_2d, strided_mask


class ConvPool2d(nn.Module):
    """3x3 convolution, batch norm, ReLU, maxima over two rows and `time_pool` frames; a rest counts as a whole.

    `(batch, in, dim, frames) -> (batch, out, ceil(dim / 2), ceil(frames / time_pool))`, and likewise the mask.

    Args:
        in_channels, out_channels: of the planes.
        time_pool: 1 or 2 frames.
    """

    def __init__(self, in_channels: int, out_channels: int, time_pool: int = 2):
        super().__init__()
        self.conv = ConvNorm2d(in_channels, out_channels, 3)
        self.time_pool = time_pool

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """`mask`: `(batch, 1, frames)` of the input, or None."""
        x = apply_mask_2d(self.conv(x, mask).relu(), mask)  # zeros, which are no greater than what they are among
        x = pair_maxima(x.transpose(2, 3)).transpose(2, 3)
        return (pair_maxima(x) if self.time_pool == 2 else x), strided_mask(mask, self.time_pool)


def pair_maxima(x: Tensor) -> Tensor:
    """Maxima of neighbours along the last axis, none below zero; an odd one out stays.

    `max_pool2d` would be the same, but tie an exported graph to even or odd lengths.

    >>> pair_maxima(torch.tensor([1, 2, 5, 0, 3]))
    tensor([2, 5, 3])
    """
    first = x[..., ::2]
    second = F.pad(x[..., 1::2], (0, 1))[..., : first.shape[-1]]
    return torch.maximum(first, second)
