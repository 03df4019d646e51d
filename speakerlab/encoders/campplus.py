"""CAM++: a densely connected TDNN behind a small 2-D network, every layer masked by its context.

Wang, Zheng, Chen, Cheng, Chen: "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023. Parameters with 80-dimensional input and statistics pooling: 7,176,224 (published: 7.18 M).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import apply_mask, frame_mask, masked_mean, strided_mask

FREQUENCY_STRIDES = (2, 1, 2, 1)  # of the front end's blocks; its last convolution halves the frequencies once more
FREQUENCY_REDUCTION = 8


def convolution(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1, bias: bool = False
) -> nn.Conv1d:
    """Padded by half its reach; drawn as He et al. (ICCV 2015) draw for ReLU, as in the authors' code."""
    padding = dilation * (kernel - 1) // 2
    made = nn.Conv1d(in_channels, out_channels, kernel, stride, padding, dilation, bias=bias)
    nn.init.kaiming_normal_(made.weight)
    if bias:
        nn.init.zeros_(made.bias)
    return made


def segment_means(x: Tensor, mask: Tensor | None, segment: int) -> Tensor:
    """Mean of every `segment` frames; the last segment may be shorter.

    Args:
        x: `(batch, channels, frames)`.
        mask: `(batch, 1, frames)` or None; the means are then those of each item's own frames.
        segment: frames.

    Returns:
        `(batch, channels, segments)`; 0 where a segment holds no frame of the item.

    >>> segment_means(torch.tensor([[[1.0, 3.0, 5.0, 7.0, 9.0]]]), None, 2)
    tensor([[[2., 6., 9.]]])
    """

    def pooled(values: Tensor) -> Tensor:
        return avg_pool1d(values, segment, segment, ceil_mode=True, count_include_pad=False)

    if mask is None:
        return pooled(x)
    # Both are divided by the same number of frames, so the quotient is the mean of the item's own.
    return pooled(apply_mask(x, mask)) / pooled(mask.to(x.dtype)).clamp(min=0.5 / segment)


class FrequencyBlock(nn.Module):
    """Two 3x3 convolutions and a skip, over all frames and every `stride`th frequency.

    `(batch, channels, dim, frames) -> (batch, channels, ceil(dim / stride), frames)`.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv1 = ConvNorm2d(channels, channels, 3, (stride, 1))
        self.conv2 = ConvNorm2d(channels, channels, 3)
        self.shortcut = nn.Identity() if stride == 1 else ConvNorm2d(channels, channels, 1, (stride, 1))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.conv2(self.conv1(x, mask).relu(), mask)
        return (y + self.shortcut(x)).relu()


class FrontEnd(nn.Module):
    """Front-end convolution module: `(batch, in, dim, frames) -> (batch, channels * ceil(dim / 8), frames)`."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.stem = ConvNorm2d(in_channels, channels, 3)
        self.blocks = nn.ModuleList(FrequencyBlock(channels, stride) for stride in FREQUENCY_STRIDES)
        self.last = ConvNorm2d(channels, channels, 3, (2, 1))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.stem(x, mask).relu()
        for block in self.blocks:
            x = block(x, mask)
        return self.last(x, mask).relu().flatten(1, 2)


class ContextAwareMask(nn.Module):
    """A convolution whose output is scaled by what the utterance and the segment around each frame say.

    F(X) * sigmoid(W2 relu(W1 (e_g + e_s) + b1) + b2): F the convolution, e_g the mean of the utterance, e_s that of the
    segment (section 2.3). `(batch, in, frames) -> (batch, out, frames)`.

    Args:
        in_channels, out_channels: of the convolution.
        kernel, dilation: of the convolution.
        segment: frames with a context of their own.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int, segment: int):
        super().__init__()
        self.segment = segment
        self.local = convolution(in_channels, out_channels, kernel, dilation=dilation)
        self.squeeze = convolution(in_channels, in_channels // 2, bias=True)
        self.excite = convolution(in_channels // 2, out_channels, bias=True)

    def gates(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The scales, in (0, 1): `(batch, out, frames)`."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            context = masked_mean(x, mask) + segment_means(x, mask, self.segment)  # (batch, in, segments)
        # All frames of a segment have one context: a hundredth of the multiplications of gates by frame.
        gates = self.excite(self.squeeze(context).relu()).sigmoid()
        return gates.repeat_interleave(self.segment, dim=-1)[..., : x.shape[-1]]

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.local(apply_mask(x, mask)) * self.gates(x, mask)


class DenseLayer(nn.Module):
    """Narrow to `bottleneck` channels, then the masked convolution makes `growth` new ones, which are appended.

    `(batch, in, frames) -> (batch, in + growth, frames)`; norm and ReLU come before each convolution.
    """

    def __init__(self, in_channels: int, bottleneck: int, growth: int, dilation: int, segment: int):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(in_channels)
        self.narrow = convolution(in_channels, bottleneck)
        self.norm2 = nn.BatchNorm1d(bottleneck)
        self.masked = ContextAwareMask(bottleneck, growth, 3, dilation, segment)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.norm2(self.narrow(self.norm1(x).relu())).relu()
        return torch.cat([x, self.masked(y, mask)], dim=1)


class Transition(nn.Module):
    """Norm, ReLU and a 1x1 convolution that halves the channels: `(batch, in, frames) -> (batch, in // 2, frames)`."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels)
        self.halve = convolution(in_channels, in_channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.halve(self.norm(x).relu())


class CAMPPlus(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: statistics).
        feature_channels: planes of features.
        front_channels: of the 2-D front end.
        channels: of the first TDNN layer, which takes every second frame.
        depths: dense layers of each block.
        dilations: of the convolutions of each block.
        growth: channels that a dense layer adds.
        bottleneck: width inside a dense layer.
        segment: frames, after the first TDNN layer, with a context of their own.
        embed_dim: size of the embedding.

    Raises:
        ValueError: if a size is not positive, `bottleneck` is 1, or there are not as many depths as dilations.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        front_channels: int = 32,
        channels: int = 128,
        depths: tuple[int, ...] = (12, 24, 16),
        dilations: tuple[int, ...] = (1, 2, 2),
        growth: int = 32,
        bottleneck: int = 128,
        segment: int = 100,
        embed_dim: int = 512,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "feature_channels": feature_channels,
            "front_channels": front_channels,
            "channels": channels,
            "growth": growth,
            "bottleneck": bottleneck,
            "segment": segment,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            least = 2 if name == "bottleneck" else 1  # the gates' hidden layer has half of it
            if size < least:
                raise ValueError(f"{name}={size} must be at least {least}")
        if not depths or len(depths) != len(dilations) or min(*depths, *dilations) < 1:
            raise ValueError(
                f"depths={list(depths)} and dilations={list(dilations)} must be equally many numbers of at least 1"
            )
        self.embed_dim = embed_dim
        self.front = FrontEnd(feature_channels, front_channels)
        self.stem = convolution(front_channels * -(-feature_dim // FREQUENCY_REDUCTION), channels, 5, stride=2)
        self.stem_norm = nn.BatchNorm1d(channels)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for depth, dilation in zip(depths, dilations, strict=True):
            self.blocks.append(
                nn.ModuleList(
                    DenseLayer(channels + number * growth, bottleneck, growth, dilation, segment)
                    for number in range(depth)
                )
            )
            self.transitions.append(Transition(channels + depth * growth))
            channels = (channels + depth * growth) // 2
        self.last_norm = nn.BatchNorm1d(channels)
        self.pooling = pooling(channels)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim, bias=False)
        nn.init.kaiming_normal_(self.project.weight)
        self.embedding_norm = nn.BatchNorm1d(embed_dim, affine=False)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels, frames / 2)` and its mask."""
        x = self.front(as_planes(features), mask)  # (batch, front_channels * dim / 8, frames)
        x = self.stem_norm(self.stem(apply_mask(x, mask))).relu()  # (batch, channels, frames / 2)
        mask = strided_mask(mask, 2)
        for layers, transition in zip(self.blocks, self.transitions, strict=True):
            for layer in layers:
                x = layer(x, mask)
            x = transition(x)
        return self.last_norm(x).relu(), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.embedding_norm(self.project(self.pooling(*self.frame_level(features, mask))))
