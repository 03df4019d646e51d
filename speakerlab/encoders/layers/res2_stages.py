"""The trunk of ERes2Net and ERes2NetV2: residual blocks whose 3x3 convolution is a Res2Net convolution.

Gao, Cheng, Zhao, Zhang, Yang, Torr: "Res2Net: A New Multi-Scale Backbone Architecture", TPAMI 2021; local feature
fusion: Chen et al., Interspeech 2023 (section 2.2).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import hardtanh

from speakerlab.encoders.layers.attentional_fusion import AttentionalFusion
from speakerlab.encoders.layers.convolution2d import ConvNorm2d
from speakerlab.encoders.layers.masking import strided_mask

STRIDES = (1, 2, 2, 2)
FIRST_FUSED = 2  # local fusion from the third stage on, as in the authors' code


def clipped_relu(x: Tensor) -> Tensor:
    """ReLU that stops at 20, as in the authors' code."""
    return hardtanh(x, 0.0, 20.0)


def halving(channels: int) -> nn.Conv2d:
    """What brings a stage's output to the shape of the next one's: half the axes, twice the channels, no norm."""
    return nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)


class Res2Block2d(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, and a skip.

    `(batch, in, dim, frames)` and mask `-> (batch, out, ceil(dim / stride), ceil(frames / stride))` and its mask.

    The Res2 convolution cuts the channels in groups; each is convolved after it has been joined with what the group
    before it became. Unlike the original, the first group is convolved too.

    Args:
        in_channels, out_channels: of the planes.
        width: channels of each group.
        scale: groups.
        stride: of the first convolution, in both directions.
        fused: groups are joined by attentional fusion rather than a sum.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, scale: int, stride: int, fused: bool):
        super().__init__()
        self.width = width
        self.stride = stride
        self.expand = ConvNorm2d(in_channels, width * scale, 1, stride)
        self.layers = nn.ModuleList(ConvNorm2d(width, width, 3) for _ in range(scale))
        self.fusions = nn.ModuleList(AttentionalFusion(width) for _ in range(scale - 1)) if fused else None
        self.merge = ConvNorm2d(width * scale, out_channels, 1)
        keeps_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if keeps_shape else ConvNorm2d(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_mask = strided_mask(mask, self.stride)
        first, *rest = clipped_relu(self.expand(x)).split(self.width, dim=1)
        group = clipped_relu(self.layers[0](first, out_mask))
        outputs = [group]
        for number, piece in enumerate(rest):
            joined = group + piece if self.fusions is None else self.fusions[number](group, piece)
            group = clipped_relu(self.layers[number + 1](joined, out_mask))
            outputs.append(group)
        return clipped_relu(self.merge(torch.cat(outputs, dim=1)) + self.shortcut(x)), out_mask


class Res2Stages(nn.Module):
    """A 3x3 convolution and four stages of Res2 blocks; each stage but the first halves both axes and doubles the
    channels.

    `(batch, in_channels, dim, frames)` and mask `->` for each stage `(batch, out_channels[stage], dim, frames)`, both
    axes divided by 1, 2, 4 or 8 and rounded up, and its mask.

    Args:
        in_channels: planes of features.
        channels: of the first convolution; the stages have `expansion` times 1, 2, 4 and 8 of that.
        depths: blocks of each stage.
        base_width: channels of each group in a stage of 64 channels; in proportion elsewhere, rounded down.
        scale: groups of the Res2 convolutions.
        expansion: how many times wider than its `channels` a stage's output is.

    Raises:
        ValueError: if a size is not positive, the groups have no channel, or there are not four depths.
    """

    def __init__(
        self, in_channels: int, channels: int, depths: Sequence[int], base_width: int, scale: int, expansion: int
    ):
        super().__init__()
        sizes = {
            "feature_channels": in_channels,
            "channels": channels,
            "base_width": base_width,
            "scale": scale,
            "expansion": expansion,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if channels * base_width < 64:
            raise ValueError(f"base_width={base_width} must be at least 64 / channels, here {64 / channels:g}")
        if len(depths) != len(STRIDES) or min(depths) < 1:
            raise ValueError(f"depths={list(depths)} must be {len(STRIDES)} numbers of at least 1")
        self.stem = ConvNorm2d(in_channels, channels, 3)
        self.out_channels = [channels * 2**stage * expansion for stage in range(len(STRIDES))]
        self.stages = nn.ModuleList()
        before = channels
        for stage, (depth, first_stride, out) in enumerate(zip(depths, STRIDES, self.out_channels, strict=True)):
            width = channels * 2**stage * base_width // 64
            inputs = [before] + [out] * (depth - 1)
            strides = [first_stride] + [1] * (depth - 1)
            self.stages.append(
                nn.ModuleList(
                    Res2Block2d(in_, out, width, scale, stride, fused=stage >= FIRST_FUSED)
                    for in_, stride in zip(inputs, strides, strict=True)
                )
            )
            before = out

    @staticmethod
    def out_dim(dim: int) -> int:
        """Values of a frame that the last stage leaves of `dim`."""
        for stride in STRIDES:
            dim = -(-dim // stride)
        return dim

    def forward(self, x: Tensor, mask: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        x = self.stem(x, mask).relu()
        outputs = []
        for blocks in self.stages:
            for block in blocks:
                x, mask = block(x, mask)
            outputs.append((x, mask))
        return outputs
