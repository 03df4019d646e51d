"""ResNet for speaker verification, with or without squeeze-and-excitation.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016; for speakers Zeinali, Wang, Silnova,
Matějka, Plchot: "BUT System Description to VoxCeleb Speaker Recognition Challenge 2019" (r-vector); depths and widths
as in Wang et al.: "WeSpeaker: A Research and Production Oriented Speaker Embedding Learning Toolkit", ICASSP 2023.
Squeeze-and-excitation: Hu, Shen, Sun, CVPR 2018. Parameters with 80-dimensional input, statistics pooling and
256-dimensional output: ResNet34 6.63 M, ResNet221 23.79 M, ResNet293 28.62 M.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.residual2d import ResidualStages
from speakerlab.encoders.layers.squeeze_excitation import SqueezeExcitation2d


class ResNet(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Unlike the network for images it keeps the resolution at first: the stem has a 3x3 kernel, stride 1 and no
    max-pooling. What is pooled over time is every channel at every remaining frequency.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (WeSpeaker: statistics).
        feature_channels: planes of features.
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1).
        depths: blocks of each of the four stages.
        width: channels of the first stage, doubled by each further one.
        embed_dim: size of the embedding.
        se: squeeze-and-excitation in each block.
        se_reduction: how many times narrower its bottleneck is.

    Raises:
        ValueError: if a size is not positive, for another block, or other than four depths.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        block: str = "basic",
        depths: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 32,
        embed_dim: int = 256,
        se: bool = False,
        se_reduction: int = 8,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "feature_channels": feature_channels,
            "width": width,
            "embed_dim": embed_dim,
            "se_reduction": se_reduction,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        gate = partial(_squeeze_excitation, reduction=se_reduction) if se else None
        self.stem = ConvNorm2d(feature_channels, width, 3)
        self.stages = ResidualStages(width, block, depths, width, gate)
        self.pooling = pooling(self.stages.out_channels * self.stages.out_dim(feature_dim))
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels * dim / 8, frames / 8)` and its mask."""
        x, mask = self.stages(self.stem(as_planes(features), mask).relu(), mask)
        return x.flatten(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling(*self.frame_level(features, mask)))


def _squeeze_excitation(channels: int, reduction: int) -> nn.Module:
    return SqueezeExcitation2d(channels, max(channels // reduction, 1))
