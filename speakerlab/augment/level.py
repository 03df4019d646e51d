"""The level of a waveform, exact however quiet it is."""

import torch
from torch import Tensor


def root_mean_square(x: Tensor) -> Tensor:
    """RMS of each item, relative to full scale: `(batch, samples) -> (batch, 1)` float32; 0 for silence.

    Items are divided by their peak before they are squared, so that quiet ones don't underflow and no floor is needed.

    >>> root_mean_square(torch.tensor([[3e-30, -3e-30], [0.0, 0.0]]))
    tensor([[3.0000e-30],
            [0.0000e+00]])
    """
    peak = x.abs().amax(dim=-1, keepdim=True)
    scale = torch.where(peak > 0.0, peak, 1.0)
    return scale * (x / scale).square().mean(dim=-1, keepdim=True).sqrt()


def match_level(x: Tensor, reference: Tensor) -> Tensor:
    """`x` `(batch, samples)` at the RMS of `reference` `(batch, samples)`, item by item; silent items stay as they are.

    Both float32.
    """
    level = root_mean_square(x)
    # Not a floor: below the smallest normal float32 (-759 dBFS) the quotient would overflow.
    audible = level >= torch.finfo(torch.float32).tiny
    return x * torch.where(audible, root_mean_square(reference) / torch.where(audible, level, 1.0), 1.0)
