"""Blocks over frequency and time whose 3x3 convolutions see a few channels each, and whose shape stays.

They are ReDimNet's (Yakovlev et al., Interspeech 2024): one after ConvNeXt (Liu et al., CVPR 2022), one after ResNet
(He et al., CVPR 2016). All take `(batch, channels, dim, frames)` and a mask `(batch, 1, frames)` or None.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.masking import apply_mask_2d, masked_mean
from speakerlab.encoders.layers.residual2d import RESIDUAL_SCALE


def groups_of(channels: int, group_width: int) -> int:
    """Groups of a 3x3 convolution: as many of at least `group_width` channels as there can be, and at least one."""
    return max(channels // group_width, 1)


class ConvNext2d(nn.Module):
    """Grouped 3x3 convolution, batch norm, GELU, 1x1 convolution, and a skip: `(batch, channels, dim, frames)`."""

    def __init__(self, channels: int, group_width: int):
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=groups_of(channels, group_width))
        self.norm = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + self.mix(F.gelu(self.norm(self.spatial(apply_mask_2d(x, mask)))))


class FrequencyGate(nn.Module):
    """Frequency-wise squeeze-and-excitation (Thienpondt, Desplanques, Demuynck, Interspeech 2021): every frequency is
    rescaled by the utterance's mean of each. `(batch, channels, dim, frames)`."""

    def __init__(self, dim: int, bottleneck: int):
        super().__init__()
        self.squeeze = nn.Linear(dim, bottleneck)
        self.excite = nn.Linear(bottleneck, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # 16 bits overflow in the sum over long utterances
            context = masked_mean(x.float().mean(dim=1), mask).squeeze(-1)  # (batch, dim)
        gate = self.excite(self.squeeze(context).relu()).sigmoid()
        return x * gate[:, None, :, None]


class Basic2d(nn.Module):
    """Residual block of two grouped 3x3 convolutions, each with a 1x1 one: `(batch, channels, dim, frames)`.

    Args:
        channels: of the planes.
        group_width: channels of a group.
        gated_dim: frequencies of the planes, rescaled before the skip is added; None: they are not.
    """

    def __init__(self, channels: int, group_width: int, gated_dim: int | None):
        super().__init__()
        groups = groups_of(channels, group_width)
        self.spatial1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.mix1 = nn.Conv2d(channels, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.spatial2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.mix2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.constant_(self.norm2.weight, RESIDUAL_SCALE)  # 48 fresh blocks amplify rounding errors a thousandfold
        self.gate = None if gated_dim is None else FrequencyGate(gated_dim, min(64, max(channels, 32)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.norm1(self.mix1(self.spatial1(apply_mask_2d(x, mask))).relu())
        y = self.norm2(self.mix2(self.spatial2(apply_mask_2d(y, mask))))
        if self.gate is not None:
            y = self.gate(y, mask)
        return (x + y).relu()


BLOCKS: dict[str, Callable[[int, int, int], nn.Module]] = {  # (channels, frequencies, channels of a group)
    "convnext": lambda channels, dim, group_width: ConvNext2d(channels, group_width),
    "basic": lambda channels, dim, group_width: Basic2d(channels, group_width, None),
    "basic_gated": lambda channels, dim, group_width: Basic2d(channels, group_width, dim),
}
