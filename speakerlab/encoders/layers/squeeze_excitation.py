"""Squeeze-and-excitation: every channel is rescaled by what the whole utterance says (Hu et al., CVPR 2018)."""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import masked_mean


class SqueezeExcitation1d(nn.Module):
    """`(batch, channels, frames) -> (batch, channels, frames)`, scaled by a gate in (0, 1) for each channel."""

    def __init__(self, channels: int, bottleneck: int, bias: bool = True):
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck, bias=bias)
        self.excite = nn.Linear(bottleneck, channels, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # 16 bits overflow in the sum over long utterances
            context = masked_mean(x.float(), mask).squeeze(-1)  # (batch, channels)
        gate = self.excite(self.squeeze(context).relu()).sigmoid()
        return x * gate.unsqueeze(-1)


class SqueezeExcitation2d(nn.Module):
    """`(batch, channels, dim, frames) -> (batch, channels, dim, frames)`, scaled by a gate in (0, 1) for each channel.

    The mask is of the frames, `(batch, 1, frames)`.
    """

    def __init__(self, channels: int, bottleneck: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # 16 bits overflow in the sum over long utterances
            context = masked_mean(x.float().mean(dim=2), mask).squeeze(-1)  # (batch, channels)
        gate = self.excite(self.squeeze(context).relu()).sigmoid()
        return x * gate[..., None, None]
