"""Derivatives of features over time.

Furui: "Speaker-independent isolated word recognition using dynamic features of speech spectrum", IEEE Transactions on
Acoustics, Speech and Signal Processing, 1986; the regression over five frames that HTK and Kaldi use.
"""

import torch
from torch import Tensor

from speakerlab.features.frames import pick_frames

REACH = 2  # frames to either side


def deltas(features: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Slope of the regression line through each frame and two to either side; the ends are repeated.

    Args:
        features: `(batch, [channels,] frames, dim)`.
        lengths: `(batch,)` frame counts, or None.

    Returns:
        of the same shape.
    """
    frames = torch.arange(features.shape[-2], device=features.device)[None]  # (1, frames)
    last = frames.new_tensor([[features.shape[-2] - 1]]) if lengths is None else lengths[:, None] - 1
    slope = torch.zeros_like(features)
    for step in range(1, REACH + 1):
        ahead = (frames + step).minimum(last).expand(len(features), -1)
        behind = (frames - step).clamp(min=0).expand(len(features), -1)
        slope = slope + step * (pick_frames(features, ahead) - pick_frames(features, behind))
    return slope / (2 * sum(step * step for step in range(1, REACH + 1)))


def stack_deltas(features: Tensor, lengths: Tensor | None, orders: int, along: str) -> Tensor:
    """Features with their derivatives of order 1 to `orders` beside them.

    Args:
        features: `(batch, frames, dim)`.
        lengths: `(batch,)` frame counts, or None.
        orders: 0 leaves the features.
        along: "dim" gives `(batch, frames, dim * (orders + 1))`, "channels" `(batch, orders + 1, frames, dim)`.
    """
    if orders == 0:
        return features
    stack = [features]
    for _ in range(orders):
        stack.append(deltas(stack[-1], lengths))
    return torch.cat(stack, dim=-1) if along == "dim" else torch.stack(stack, dim=1)
