"""ERes2NetV2: wider than ERes2Net, with one global fusion instead of three.

Chen, Zheng, Wang, Cheng, Chen, Zhang, Li: "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with
Computational Efficiency", Interspeech 2024. Parameters with 80-dimensional input and statistics pooling:
17,859,632 (the authors' code says 17.86 M, their tables cut it to 17.8 M).
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.attentional_fusion import AttentionalFusion
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask
from speakerlab.encoders.layers.res2_stages import Res2Stages, halving


class ERes2NetV2(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Blocks as in ERes2Net, whose groups are narrower here. Bottom-up dual-stage feature fusion: the output of the third
    stage is halved and fused with that of the fourth.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: statistics).
        feature_channels: planes of features.
        channels: of the first convolution.
        depths: blocks of each of the four stages.
        base_width: channels of each Res2 group in a stage of 64 channels; in proportion elsewhere, rounded down.
        scale: groups of the Res2 convolutions.
        expansion: how many times wider than its `channels` a stage's output is.
        embed_dim: size of the embedding.

    Raises:
        ValueError: if a size is not positive, the groups have no channel, or there are not four depths.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        channels: int = 64,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        base_width: int = 26,
        scale: int = 2,
        expansion: int = 2,
        embed_dim: int = 192,
    ):
        super().__init__()
        for name, size in {"feature_dim": feature_dim, "embed_dim": embed_dim}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        self.stages = Res2Stages(feature_channels, channels, depths, base_width, scale, expansion)
        *_, third, fourth = self.stages.out_channels
        self.halve = halving(third)
        self.fuse = AttentionalFusion(fourth)
        self.pooling = pooling(fourth * self.stages.out_dim(feature_dim))
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels * dim / 8, frames / 8)` and its mask."""
        *_, (third, third_mask), (fourth, mask) = self.stages(as_planes(features), mask)
        fused = self.fuse(fourth, self.halve(apply_mask_2d(third, third_mask)))
        return fused.flatten(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling(*self.frame_level(features, mask)))
