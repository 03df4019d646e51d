"""Mean and standard deviation over the frames of each item.

In float32 whatever the precision around them: in 16 bits E[x^2] overflows and a small variance drowns in rounding.
"""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-7  # keeps the gradient of the square root finite on constant input


def weighted_statistics(x: Tensor, weights: Tensor, floor: float = VARIANCE_FLOOR) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over the frames, in float32.

    Args:
        x: `(batch, channels, frames)`.
        weights: broadcastable to `x`; they sum to one over the frames and are zero on padding.
        floor: of the variance.

    Returns:
        mean and standard deviation, `(batch, channels)` each.
    """
    mean = (weights * x).sum(dim=-1)
    # The two-pass form: E[x^2] - mean^2 loses every digit when the mean is large.
    variance = (weights * (x - mean.unsqueeze(-1)).square()).sum(dim=-1)
    return mean, variance.clamp(min=floor).sqrt()


def utterance_statistics(
    x: Tensor, mask: Tensor | None, unbiased: bool = False, floor: float = VARIANCE_FLOOR
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over each item's own frames, `(batch, channels)` each, in float32.

    Args:
        x: `(batch, channels, frames)`.
        mask: `(batch, 1, frames)` or None.
        unbiased: divide the squares by the number of frames less one, where there are two or more.
        floor: of the variance.
    """
    weights = uniform_weights(x, mask)
    mean, deviation = weighted_statistics(x, weights, floor)
    if unbiased:
        # n / (n - 1) = 1 / (1 - 1/n); at least 1/2 is subtracted from no more than one frame, which has no deviation.
        deviation = deviation * (1.0 - weights.amax(dim=-1)).clamp(min=0.5).rsqrt()
    return mean, deviation


def uniform_weights(x: Tensor, mask: Tensor | None) -> Tensor:
    """Equal weights on each item's own frames: broadcastable to `(batch, channels, frames)`."""
    if mask is None:
        return torch.full((1, 1, 1), 1.0 / x.shape[-1], device=x.device)
    return mask / mask.sum(dim=-1, keepdim=True)
