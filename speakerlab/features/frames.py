"""Frames of a padded batch: which are an item's own, and their mean."""

import torch
from torch import Tensor


def frame_mask(features: Tensor, lengths: Tensor) -> Tensor:
    """Which frames are an item's own: bool, `(batch, [1,] frames, 1)`, broadcastable to the features.

    Args:
        features: `(batch, frames, dim)` or `(batch, channels, frames, dim)`.
        lengths: `(batch,)` frame counts.
    """
    shape = (len(features), *(1,) * (features.ndim - 3), features.shape[-2], 1)
    return (torch.arange(features.shape[-2], device=features.device) < lengths[:, None]).view(shape)


def frame_mean(features: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over each item's own frames, kept as an axis of 1: `(batch, [channels,] 1, dim)`."""
    if lengths is None:
        return features.mean(dim=-2, keepdim=True)
    mask = frame_mask(features, lengths)
    return features.masked_fill(~mask, 0.0).sum(dim=-2, keepdim=True) / mask.sum(dim=-2, keepdim=True)
