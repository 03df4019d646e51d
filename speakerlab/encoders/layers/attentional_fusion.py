"""Attentional feature fusion: two inputs added with weights that both of them decide.

Dai, Gieseke, Oehmcke, Wu, Barnard: "Attentional Feature Fusion", WACV 2021; in the form of ERes2Net (Chen et al.,
Interspeech 2023), whose attention is local and signed.
"""

import torch
from torch import Tensor, nn


class AttentionalFusion(nn.Module):
    """(1 + U) x + (1 - U) y, where U = tanh(BN(W2 SiLU(BN(W1 [x; y])))) for each channel, frequency and frame.

    Two times `(batch, channels, dim, frames)` -> the same. Every position stands for itself: nothing is to be masked.

    Args:
        channels: of each input.
        reduction: how many times narrower the hidden layer is.
    """

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.SiLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        preference = self.attention(torch.cat([x, y], dim=1)).tanh()
        return x + y + preference * (x - y)
