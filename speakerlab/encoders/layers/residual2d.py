"""Residual blocks over frequency and time.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016 (figure 5). A bottleneck's stride is in
its 3x3 convolution rather than in its first 1x1, as in torchvision and WeSpeaker, so that no input is passed over.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from speakerlab.encoders.layers.convolution2d import ConvNorm2d
from speakerlab.encoders.layers.masking import strided_mask

RESIDUAL_SCALE = 0.2


def near_identity(last: ConvNorm2d) -> ConvNorm2d:
    """The last layer of a residual, made to start small, so that a fresh block changes little.

    Szegedy et al. (AAAI 2017) scale residuals by 0.1 to 0.3; Goyal et al. (2017) let the last batch norm's scale begin
    at 0. At 1, each block of a fresh network amplifies rounding errors: the bfloat16 embeddings of a fresh ResNet-293
    have nothing to do with its float32 embeddings.
    """
    nn.init.constant_(last.norm.weight, RESIDUAL_SCALE)
    return last


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, a gate and a skip.

    `(batch, in, dim, frames)` and mask `-> (batch, width, dim / stride, frames / stride)` and its mask.

    Args:
        in_channels: of the input.
        width: of the convolutions.
        stride: of the first convolution.
        gate: makes what rescales the residual before the skip is added, for a number of channels; None: nothing does.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, gate: Callable[[int], nn.Module] | None):
        super().__init__()
        self.stride = stride
        self.conv1 = ConvNorm2d(in_channels, width, 3, stride)
        self.conv2 = near_identity(ConvNorm2d(width, width, 3))
        self.gate = None if gate is None else gate(width)
        self.shortcut = shortcut_of(in_channels, width, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_mask = strided_mask(mask, self.stride)
        y = self.conv2(self.conv1(x, mask).relu(), out_mask)
        if self.gate is not None:
            y = self.gate(y, out_mask)
        return (y + self.shortcut(x)).relu(), out_mask


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, a gate and a skip; else as `BasicBlock`."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, gate: Callable[[int], nn.Module] | None):
        super().__init__()
        out_channels = self.expansion * width
        self.stride = stride
        self.conv1 = ConvNorm2d(in_channels, width, 1)
        self.conv2 = ConvNorm2d(width, width, 3, stride)
        self.conv3 = near_identity(ConvNorm2d(width, out_channels, 1))
        self.gate = None if gate is None else gate(out_channels)
        self.shortcut = shortcut_of(in_channels, out_channels, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        out_mask = strided_mask(mask, self.stride)
        y = self.conv3(self.conv2(self.conv1(x).relu(), mask).relu())
        if self.gate is not None:
            y = self.gate(y, out_mask)
        return (y + self.shortcut(x)).relu(), out_mask


def shortcut_of(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity, or where the shape changes a 1x1 projection (option B of the paper)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm2d(in_channels, out_channels, 1, stride)


BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
STRIDES = (1, 2, 2, 2)


class ResidualStages(nn.Module):
    """Four stages of blocks, of `width`, `2 width`, `4 width` and `8 width`; each but the first halves both axes.

    `(batch, in_channels, dim, frames)` and mask `-> (batch, out_channels, ceil(dim / 8), ceil(frames / 8))` and its
    mask.

    Args:
        in_channels: of the input.
        block: "basic" or "bottleneck".
        depths: blocks of each stage.
        width: of the first stage's 3x3 convolutions.
        gate: makes what rescales each block's residual, for a number of channels; None leaves them.

    Raises:
        ValueError: for another block, or other than four depths of at least 1.
    """

    def __init__(
        self,
        in_channels: int,
        block: str,
        depths: Sequence[int],
        width: int,
        gate: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block={block} must be one of {', '.join(BLOCKS)}")
        if len(depths) != len(STRIDES) or min(depths) < 1:
            raise ValueError(f"depths={list(depths)} must be {len(STRIDES)} numbers of at least 1")
        self.blocks = nn.ModuleList()
        for stage, (depth, first_stride) in enumerate(zip(depths, STRIDES, strict=True)):
            for number in range(depth):
                stride = first_stride if number == 0 else 1
                self.blocks.append(BLOCKS[block](in_channels, width * 2**stage, stride, gate))
                in_channels = width * 2**stage * BLOCKS[block].expansion
        self.out_channels = in_channels

    @staticmethod
    def out_dim(dim: int) -> int:
        """Values of a frame that remain of `dim`."""
        for stride in STRIDES:
            dim = -(-dim // stride)
        return dim

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for block in self.blocks:
            x, mask = block(x, mask)
        return x, mask
