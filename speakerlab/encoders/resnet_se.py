"""ResNets with squeeze-and-excitation as voxceleb_trainer and SpeechBrain have them.

Chung, Huh, Mun, Lee, Heo, Choe, Ham, Jung, Lee, Han: "In Defence of Metric Learning for Speaker Recognition",
Interspeech 2020 (Fast ResNet-34, `ResNetSE34L` of voxceleb_trainer); Heo, Lee, Huh, Chung: "Clova Baseline System for
the VoxCeleb Speaker Recognition Challenge 2020" (half ResNet-34, `ResNetSE34V2`). SpeechBrain's has blocks with
activations before convolutions: He, Zhang, Ren, Sun: "Identity Mappings in Deep Residual Networks", ECCV 2016.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask, strided_mask
from speakerlab.encoders.layers.residual2d import RESIDUAL_SCALE, shortcut_of
from speakerlab.encoders.layers.squeeze_excitation import SqueezeExcitation2d

STAGES = 4


class ReluNormBlock(nn.Module):
    """3x3 convolution, ReLU, norm, 3x3 convolution, norm, a gate, a skip and ReLU (voxceleb_trainer).

    `(batch, in, dim, frames)` and mask `-> (batch, width, dim / stride, frames / stride)` and its mask.

    Args:
        in_channels: of the input.
        width: of the convolutions.
        stride: of the first convolution.
        gate: rescales the residual.
    """

    def __init__(self, in_channels: int, width: int, stride: int, gate: nn.Module | None):
        super().__init__()
        self.stride = stride
        self.conv1 = _conv(in_channels, width, 3, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.constant_(self.norm2.weight, RESIDUAL_SCALE)
        self.gate = gate
        self.shortcut = shortcut_of(in_channels, width, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_mask = strided_mask(mask, self.stride)
        y = self.norm1(self.conv1(apply_mask_2d(x, mask)).relu())
        y = self.norm2(self.conv2(apply_mask_2d(y, out_mask)))
        if self.gate is not None:
            y = self.gate(y, out_mask)
        return (y + self.shortcut(x)).relu(), out_mask


class PreactivatedBlock(nn.Module):
    """Norm, ReLU and convolution thrice (3x3, 3x3, 1x1), a gate and a skip (SpeechBrain); else as `ReluNormBlock`."""

    def __init__(self, in_channels: int, width: int, stride: int, gate: nn.Module | None):
        super().__init__()
        self.stride = stride
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv(in_channels, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width, 1)
        self.conv3.weight.data.mul_(RESIDUAL_SCALE)
        self.gate = gate
        self.shortcut = shortcut_of(in_channels, width, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_mask = strided_mask(mask, self.stride)
        y = self.conv1(apply_mask_2d(self.norm1(x).relu(), mask))
        y = self.conv2(apply_mask_2d(self.norm2(y).relu(), out_mask))
        y = self.conv3(self.norm3(y).relu())
        if self.gate is not None:
            y = self.gate(y, out_mask)
        return y + self.shortcut(x), out_mask


class ReluNormStem(nn.Module):
    """3x3 convolution with bias, ReLU, norm: `(batch, 1, dim, frames) -> (batch, width, dim, frames)`."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.norm(self.conv(apply_mask_2d(x, mask)).relu())


class NormReluStem(nn.Module):
    """Convolution, norm, ReLU: `(batch, 1, dim, frames) -> (batch, width, ceil(dim / stride), frames)`."""

    def __init__(self, width: int, kernel: int, stride: int):
        super().__init__()
        self.layer = ConvNorm2d(1, width, kernel, (stride, 1))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.layer(x, mask).relu()


BLOCKS = {"relu_norm": ReluNormBlock, "preactivated": PreactivatedBlock}
STEMS: dict[str, tuple[Callable[[int], nn.Module], int]] = {  # width -> module, and its stride over the dimensions
    "fast": (lambda width: NormReluStem(width, 7, 2), 2),
    "relu_norm": (ReluNormStem, 1),
    "norm_relu": (lambda width: NormReluStem(width, 3, 1), 1),
}


class ResNetSE(nn.Module):
    """`(batch, frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels.
        stem: "fast" (7x7, every second dimension), "relu_norm" or "norm_relu" (3x3).
        block: "relu_norm" or "preactivated".
        depths, widths, strides: blocks of each of the four stages, their channels, and the stride of the first.
        se_stages: how many stages, from the first on, have squeeze-and-excitation.
        se_reduction: how many times narrower its bottleneck is.
        average_dims: pool the channels' averages over the remaining dimensions, and not each of these.
        norms: batch norms before and after the projection.
        embed_dim: size of the embedding.

    Raises:
        ValueError: if a size is not positive, for another stem or block, or other than four stages.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        stem: str = "fast",
        block: str = "relu_norm",
        depths: tuple[int, ...] = (3, 4, 6, 3),
        widths: tuple[int, ...] = (16, 32, 64, 128),
        strides: tuple[int, ...] = (1, 2, 2, 1),
        se_stages: int = 4,
        se_reduction: int = 8,
        average_dims: bool = True,
        norms: bool = False,
        embed_dim: int = 512,
    ):
        super().__init__()
        _check(feature_dim, se_stages, se_reduction, embed_dim, stem, block)
        _check_stages(depths=depths, widths=widths, strides=strides)
        self.embed_dim = embed_dim
        self.average_dims = average_dims
        make_stem, stem_stride = STEMS[stem]
        self.stem = make_stem(widths[0])
        self.blocks = nn.ModuleList()
        in_channels, dim = widths[0], -(-feature_dim // stem_stride)
        for stage, (depth, width, stride) in enumerate(zip(depths, widths, strides, strict=True)):
            for number in range(depth):
                gate = SqueezeExcitation2d(width, max(width // se_reduction, 1)) if stage < se_stages else None
                self.blocks.append(BLOCKS[block](in_channels, width, stride if number == 0 else 1, gate))
                in_channels = width
            dim = -(-dim // stride)
        self.pooling = pooling(in_channels if average_dims else in_channels * dim)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim) if norms else nn.Identity()
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)
        self.embedding_norm = nn.BatchNorm1d(embed_dim) if norms else nn.Identity()

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees, `(batch, channels, frames)`, and its mask."""
        x = self.stem(as_planes(features), mask)  # (batch, channels, dim, frames)
        for block in self.blocks:
            x, mask = block(x, mask)
        return (x.mean(dim=2) if self.average_dims else x.flatten(1, 2)), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        pooled = self.pooling(*self.frame_level(features, mask))
        return self.embedding_norm(self.project(self.pooling_norm(pooled)))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _check(feature_dim: int, se_stages: int, se_reduction: int, embed_dim: int, stem: str, block: str) -> None:
    sizes = {"feature_dim": feature_dim, "se_reduction": se_reduction, "embed_dim": embed_dim}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be at least 1")
    if not 0 <= se_stages <= STAGES:
        raise ValueError(f"se_stages={se_stages} must lie in 0 to {STAGES}")
    for name, value, known in (("stem", stem, STEMS), ("block", block, BLOCKS)):
        if value not in known:
            raise ValueError(f"{name}={value} must be one of {', '.join(known)}")


def _check_stages(**numbers: Sequence[int]) -> None:
    for name, values in numbers.items():
        if len(values) != STAGES or min(values) < 1:
            raise ValueError(f"{name}={list(values)} must be {STAGES} numbers of at least 1")
