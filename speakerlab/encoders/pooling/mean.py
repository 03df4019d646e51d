"""Temporal average pooling."""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import masked_mean


class Mean(nn.Module):
    """`(batch, channels, frames) -> (batch, channels)`, in float32.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.out_dim = channels

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return masked_mean(x.float(), mask).squeeze(-1)
