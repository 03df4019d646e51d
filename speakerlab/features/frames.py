"""Frames of a padded batch: which are an item's own, their statistics, and picking them by number."""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-7  # keeps the gradient of the square root finite on constant input


def frame_mask(features: Tensor, lengths: Tensor) -> Tensor:
    """Which frames are an item's own: bool, `(batch, [1,] frames, 1)`, broadcastable to the features.

    Args:
        features: `(batch, frames, dim)` or `(batch, channels, frames, dim)`.
        lengths: `(batch,)` frame counts.
    """
    return torch.arange(features.shape[-2], device=features.device)[:, None] < per_item(lengths, features)


def per_item(values: Tensor, features: Tensor) -> Tensor:
    """`(batch,) -> (batch, [1,] 1, 1)`, broadcastable to the features."""
    return values.view(-1, *(1,) * (features.ndim - 1))


def frame_mean(features: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over each item's own frames, kept as an axis of 1: `(batch, [channels,] 1, dim)`."""
    if lengths is None:
        return features.mean(dim=-2, keepdim=True)
    own = features.masked_fill(~frame_mask(features, lengths), 0.0)
    return own.sum(dim=-2, keepdim=True) / per_item(lengths, features)


def frame_deviation(features: Tensor, mean: Tensor, lengths: Tensor | None) -> Tensor:
    """Standard deviation over each item's own frames about `mean`, of the same shape as that."""
    return frame_mean((features - mean).square(), lengths).clamp(min=VARIANCE_FLOOR).sqrt()


def pick_frames(features: Tensor, numbers: Tensor) -> Tensor:
    """The frames with these numbers.

    Args:
        features: `(batch, frames, dim)` or `(batch, channels, frames, dim)`.
        numbers: `(batch, picked)` of each item.

    Returns:
        `(batch, [channels,] picked, dim)`.
    """
    numbers = numbers.view(len(numbers), *(1,) * (features.ndim - 3), -1, 1)
    shape = (*features.shape[:-2], numbers.shape[-2], features.shape[-1])
    return features.gather(-2, numbers.expand(shape))
