"""Frame masks: what keeps a padded batch from changing anybody's embedding."""

import torch
from torch import Tensor
from torch.nn import functional as F


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Which frames belong to each item.

    Args:
        lengths: `(batch,)` integer number of valid frames of each item.
        frames: length of the padded frame axis.

    Returns:
        `(batch, 1, frames)` bool, broadcast over the channels of `(batch, channels, frames)`.

    >>> frame_mask(torch.tensor([1, 3]), 3)[:, 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    return (torch.arange(frames, device=lengths.device) < lengths[:, None]).unsqueeze(1)


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding of `(batch, channels, frames)`, as a convolution's own padding is zero; nothing without mask."""
    return x if mask is None else x.masked_fill(~mask, 0.0)


def apply_mask_2d(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding of `(batch, channels, dim, frames)`, given the mask `(batch, 1, frames)` or None."""
    return x if mask is None else x.masked_fill(~mask.unsqueeze(2), 0.0)


def strided_mask(mask: Tensor | None, stride: int) -> Tensor | None:
    """The mask of what a convolution with this stride and an odd kernel, padded by half of it, makes of the frames.

    Its output frame `i` is centred on frame `i * stride`, so it is an item's own if that frame is: of `n` frames,
    `ceil(n / stride)` remain.

    >>> strided_mask(frame_mask(torch.tensor([1, 3, 5]), 5), 2).sum(dim=-1).flatten()
    tensor([1, 2, 3])
    """
    return None if mask is None else mask[..., ::stride]


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over each item's own frames: `(batch, channels, frames) -> (batch, channels, 1)`."""
    if mask is None:
        return x.mean(dim=-1, keepdim=True)
    return apply_mask(x, mask).sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True)


def reflect_ends(x: Tensor, mask: Tensor | None, pad: int) -> Tensor:
    """Each item with its mirror image before and after it: `(batch, channels, frames + 2 * pad)`.

    Args:
        x: `(batch, channels, frames)`.
        mask: `(batch, 1, frames)` or None.
        pad: frames of the image on each side; the first and the last frame are not repeated.

    >>> reflect_ends(torch.tensor([[[1.0, 2.0, 3.0, 9.0]]]), torch.tensor([[[True, True, True, False]]]), 2)
    tensor([[[3., 2., 1., 2., 3., 2., 1., 1.]]])
    """
    frames = x.shape[-1]
    if mask is None and frames > pad:
        return F.pad(x, (pad, pad), mode="reflect")
    last = (frames if mask is None else mask.sum(dim=-1, keepdim=True)) - 1
    places = torch.arange(-pad, frames + pad, device=x.device).abs()
    places = (last - (last - places).abs()).clamp(min=0)  # (batch, 1, frames + 2 * pad)
    return x.gather(-1, places.expand(len(x), x.shape[1], -1))
