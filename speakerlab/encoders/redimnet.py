"""ReDimNet: 2-D and 1-D blocks in turn on feature maps of one volume, which is only viewed anew.

Yakovlev, Makarov, Balykin, Malov, Okhotnikov, Torgashov: "Reshape Dimensions Network for Speaker Recognition",
Interspeech 2024. Parameters in millions, and the paper's: B0 1.0 (1.0), B1 2.1 (2.2), B2 5.1 (4.7), B3 3.2 (3.0),
B4 6.4 (6.3), B5 7.7 (9.2), B6 15.0 (15.0). B2 and B5 have as many values as the weights that the authors released, not
as many as the paper says; the other sizes are WeSpeaker's.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.grouped2d import BLOCKS, groups_of
from speakerlab.encoders.layers.masking import apply_mask, apply_mask_2d, frame_mask

TIME_KERNELS = (7, 19, 31, 59)  # frames
HEADS = 4
EPS = 1e-6  # of the layer norms


def to_1d(x: Tensor) -> Tensor:
    """`(batch, channels, dim, frames) -> (batch, dim * channels, frames)`, the frequencies outside.

    With half as many frequencies and twice as many channels, each value of a frame then still belongs to the same band:
    outputs of all stages can be added.
    """
    return x.transpose(1, 2).flatten(1, 2)


def to_2d(x: Tensor, channels: int) -> Tensor:
    """The inverse of `to_1d`."""
    return x.unflatten(1, (-1, channels)).transpose(1, 2)


def channel_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm over the channels alone, `(batch, channels, ...)`: frames do not see each other."""
    return norm(x.movedim(1, -1)).movedim(-1, 1)


class WeightedSum(nn.Module):
    """Outputs of earlier stages, added with weights of each channel that sum to one.

    List of `inputs` times `(batch, channels, frames) -> (batch, channels, frames)`.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(inputs, channels, 1))

    def forward(self, outputs: list[Tensor]) -> Tensor:
        return sum(weight * x for weight, x in zip(self.logits.softmax(dim=0), outputs, strict=True))


class ConvNext1d(nn.Module):
    """Convolution of each channel over time, batch norm, GELU, 1x1 convolution, and a skip."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.temporal = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.BatchNorm1d(channels)
        self.mix = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + self.mix(F.gelu(self.norm(self.temporal(apply_mask(x, mask)))))


class TimeContext(nn.Module):
    """The 1-D block, `(batch, channels, frames) -> (batch, channels, frames)`: in fewer channels, convolutions over
    ever more frames and a transformer layer over all of them, and a skip."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.narrow = nn.Conv1d(channels, hidden, 1)
        self.norm = nn.LayerNorm(hidden, eps=EPS)
        self.convolutions = nn.ModuleList(ConvNext1d(hidden, kernel) for kernel in TIME_KERNELS)
        activation = partial(F.gelu, approximate="tanh")
        self.attention = nn.TransformerEncoderLayer(
            hidden, HEADS, hidden, dropout=0.0, activation=activation, layer_norm_eps=EPS, batch_first=True
        )
        self.widen = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = channel_norm(self.narrow(x), self.norm)
        for convolution in self.convolutions:
            y = convolution(y, mask)
        padding = None if mask is None else ~mask.squeeze(1)  # (batch, frames)
        y = self.attention(y.transpose(1, 2), src_key_padding_mask=padding)
        return x + self.widen(y.transpose(1, 2))


class Stage(nn.Module):
    """Strided convolution over frequency, 2-D blocks, 1-D block: `(batch, volume, frames) -> (batch, volume, frames)`.

    Args:
        channels, dim: how the input is viewed; the output has `stride` times more channels, as many fewer frequencies.
        stride: over the frequencies.
        depth: 2-D blocks.
        expansion: how many times wider the 2-D blocks are.
        reduction: how many times narrower the 1-D block is; None: there is none.
        block: of `BLOCKS`.
        group_width: channels of a group in the 3x3 convolutions.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        stride: int,
        depth: int,
        expansion: int,
        reduction: int | None,
        block: str,
        group_width: int,
    ):
        super().__init__()
        self.channels = channels
        narrow, wide = channels * stride, channels * stride * expansion
        self.resize = nn.Conv2d(channels, wide, (stride, 1), (stride, 1))
        self.blocks = nn.ModuleList(BLOCKS[block](wide, dim // stride, group_width) for _ in range(depth))
        self.squeeze: nn.ModuleList | None = None
        if expansion > 1:
            spatial = nn.Conv2d(wide, narrow, 3, padding=1, groups=groups_of(narrow, group_width))
            self.squeeze = nn.ModuleList([spatial, nn.BatchNorm2d(narrow, eps=EPS), nn.Conv2d(narrow, narrow, 1)])
        volume = channels * dim
        self.context = None if reduction is None else TimeContext(volume, volume // reduction)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.resize(to_2d(x, self.channels))  # (batch, wide, dim / stride, frames)
        for block in self.blocks:
            x = block(x, mask)
        if self.squeeze is not None:
            spatial, norm, mix = self.squeeze
            x = mix(F.gelu(norm(spatial(apply_mask_2d(x, mask)))))
        x = to_1d(x)
        return x if self.context is None else self.context(x, mask)


class ReDimNet(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame, which the strides divide.
        pooling: makes the pooling for a number of channels (the paper: attentive statistics with global context).
        feature_channels: planes of features.
        channels: of the first stage; `channels * feature_dim` is the volume of every stage's output.
        block: of 2-D: "convnext", "basic", or "basic_gated" with frequency-wise squeeze-and-excitation.
        group_width: least channels of a group in the 3x3 convolutions.
        strides: over the frequencies, of each stage.
        depths: 2-D blocks of each stage.
        expansions: how many times wider than its output each stage is inside.
        reductions: how many times narrower than the volume each stage's 1-D block is; None: it has none.
        embed_dim: size of the embedding.

    Raises:
        ValueError: for a value that is out of range, or does not divide what it must.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        channels: int = 16,
        block: str = "convnext",
        group_width: int = 4,
        strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2),
        depths: tuple[int, ...] = (2, 2, 3, 4, 4, 4),
        expansions: tuple[int, ...] = (1, 1, 1, 1, 1, 1),
        reductions: tuple[int | None, ...] = (12, 12, 12, 8, 8, 4),
        embed_dim: int = 192,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "feature_channels": feature_channels,
            "channels": channels,
            "group_width": group_width,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        check_stages(feature_dim, channels, block, group_width, strides, depths, expansions, reductions)
        self.embed_dim = embed_dim
        volume = channels * feature_dim
        self.stem = nn.Conv2d(feature_channels, channels, 3, padding=1)
        self.stem_norm = nn.LayerNorm(channels, eps=EPS)
        # The first stage has the stem alone to look at.
        self.sums = nn.ModuleList(WeightedSum(inputs, volume) for inputs in range(2, len(strides) + 2))
        self.stages = nn.ModuleList()
        dim = feature_dim
        for stride, depth, expansion, reduction in zip(strides, depths, expansions, reductions, strict=True):
            self.stages.append(Stage(channels, dim, stride, depth, expansion, reduction, block, group_width))
            channels, dim = channels * stride, dim // stride
        self.pooling = pooling(volume)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """What the pooling sees: `(batch, channels * feature_dim, frames)`."""
        x = to_1d(channel_norm(self.stem(apply_mask_2d(as_planes(features), mask)), self.stem_norm))
        outputs = [x]
        for stage, add in zip(self.stages, self.sums, strict=True):
            outputs.append(stage(x, mask))
            x = add(outputs)
        return x

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling_norm(self.pooling(self.frame_level(features, mask), mask)))


def check_stages(
    feature_dim: int,
    channels: int,
    block: str,
    group_width: int,
    strides: Sequence[int],
    depths: Sequence[int],
    expansions: Sequence[int],
    reductions: Sequence[int | None],
) -> None:
    """Raises ValueError if no stages can be made of these arguments of `ReDimNet`."""
    if block not in BLOCKS:
        raise ValueError(f"block={block} must be one of {', '.join(BLOCKS)}")
    lists = {"strides": strides, "depths": depths, "expansions": expansions, "reductions": reductions}
    for name, values in lists.items():
        if len(values) != len(strides) or not values or min(value for value in (*values, 1) if value is not None) < 1:
            raise ValueError(f"{name}={list(values)} must be one number of at least 1 for each of the strides")
    width = channels
    for stride, expansion in zip(strides, expansions, strict=True):
        width *= stride
        for count in (width, width * expansion):
            if count % groups_of(count, group_width):
                raise ValueError(f"group_width={group_width} does not divide the {count} channels of a stage")
    if feature_dim * channels % width:
        raise ValueError(f"feature_dim={feature_dim} must be a multiple of the product of strides={list(strides)}")
    volume = channels * feature_dim
    for reduction in reductions:
        if reduction is not None and (volume % reduction or volume // reduction % HEADS):
            raise ValueError(
                f"reductions={list(reductions)} must divide channels * feature_dim = {volume} into multiples of {HEADS}"
            )
