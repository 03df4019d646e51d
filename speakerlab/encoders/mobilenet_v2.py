"""MobileNetV2: a light network of inverted residuals.

Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (table 2).
Parameters below the pooling, with three input channels: 2,223,872, as torchvision's.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import frame_mask, strided_mask
from speakerlab.encoders.layers.residual2d import near_identity

STEM, LAST = 32, 1280
# Table 2: expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Wide 1x1, 3x3 on each channel alone, narrow 1x1 without activation; a skip where the shape stays.

    `(batch, in, dim, frames)` and mask `-> (batch, out, dim / stride, frames / stride)` and its mask.
    """

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int):
        super().__init__()
        hidden = in_channels * expansion
        self.stride = stride
        self.skip = stride == 1 and in_channels == out_channels
        self.expand = None if expansion == 1 else ConvNorm2d(in_channels, hidden, 1)
        self.depthwise = ConvNorm2d(hidden, hidden, 3, stride, groups=hidden)
        reduce = ConvNorm2d(hidden, out_channels, 1)
        self.reduce = near_identity(reduce) if self.skip else reduce

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        y = self.reduce(F.relu6(self.depthwise(hidden, mask)))
        return (x + y if self.skip else y), strided_mask(mask, self.stride)


class MobileNetV2(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Both axes shrink 32 times. What is pooled over time is every channel at every remaining frequency.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: the mean).
        feature_channels: planes of features.
        embed_dim: size of the embedding.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        embed_dim: int = 256,
    ):
        super().__init__()
        sizes = {"feature_dim": feature_dim, "feature_channels": feature_channels, "embed_dim": embed_dim}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        self.stem = ConvNorm2d(feature_channels, STEM, 3, stride=2)
        self.blocks = nn.ModuleList()
        channels, dim = STEM, -(-feature_dim // 2)
        for expansion, out_channels, depth, first_stride in STAGES:
            for number in range(depth):
                stride = first_stride if number == 0 else 1
                self.blocks.append(InvertedResidual(channels, out_channels, expansion, stride))
                channels, dim = out_channels, -(-dim // stride)
        self.last = ConvNorm2d(channels, LAST, 1)
        self.pooling = pooling(LAST * dim)
        # All that is pooled is positive: without a norm the embeddings are one large mean and small differences.
        self.project = nn.Linear(self.pooling.out_dim, embed_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, 1280 * dim / 32, frames / 32)` and its mask."""
        x, mask = F.relu6(self.stem(as_planes(features), mask)), strided_mask(mask, 2)
        for block in self.blocks:
            x, mask = block(x, mask)
        return F.relu6(self.last(x)).flatten(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.embedding_norm(self.project(self.pooling(*self.frame_level(features, mask))))
