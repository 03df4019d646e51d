"""Mean and standard deviation over the frames of each item.

In float32 whatever the precision around them: in 16 bits E[x^2] overflows and a small variance drowns in rounding.
"""

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-7  # keeps the gradient of the square root finite on constant input


def weighted_statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation over the frames, in float32.

    Args:
        x: `(batch, channels, frames)`.
        weights: broadcastable to `x`; they sum to one over the frames and are zero on padding.

    Returns:
        mean and standard deviation, `(batch, channels)` each.
    """
    mean = (weights * x).sum(dim=-1)
    # The two-pass form: E[x^2] - mean^2 loses every digit when the mean is large.
    variance = (weights * (x - mean.unsqueeze(-1)).square()).sum(dim=-1)
    return mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()


def uniform_weights(x: Tensor, mask: Tensor | None) -> Tensor:
    """Equal weights on each item's own frames: broadcastable to `(batch, channels, frames)`."""
    if mask is None:
        return torch.full((1, 1, 1), 1.0 / x.shape[-1], device=x.device)
    return mask / mask.sum(dim=-1, keepdim=True)
