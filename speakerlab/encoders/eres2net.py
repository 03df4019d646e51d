"""ERes2Net: Res2Net with local and global feature fusion.

Chen, Zheng, Wang, Cheng, Chen, Qi: "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification",
Interspeech 2023. Parameters with 80-dimensional input, statistics pooling and an embedding of 192: base 6,610,688
(published: 6.61 M), large 22,462,784 (22.46 M). With WeSpeaker's embedding of 512 base has 9,887,808, as WeSpeaker's
own code has; its table says 7.88 M, which no embedding of 512 on pooled statistics of 10,240 allows: 9.88 is meant.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.attentional_fusion import AttentionalFusion
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask
from speakerlab.encoders.layers.res2_stages import Res2Stages, halving


class ERes2Net(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Local fusion joins the groups inside a block (`Res2Block2d`), global fusion the outputs of the four stages: from
    the bottom up, what has been fused so far is halved and fused with the next stage's output.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: statistics).
        feature_channels: planes of features.
        channels: of the first convolution (the paper: 32, large 64).
        depths: blocks of each of the four stages.
        base_width: channels of each Res2 group in a stage of 64 channels; in proportion elsewhere, rounded down.
        scale: groups of the Res2 convolutions.
        expansion: how many times wider than its `channels` a stage's output is.
        embed_dim: size of the embedding (3D-Speaker: 192; WeSpeaker: 512).

    Raises:
        ValueError: if a size is not positive, the groups have no channel, or there are not four depths.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        channels: int = 32,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        embed_dim: int = 512,
    ):
        super().__init__()
        for name, size in {"feature_dim": feature_dim, "embed_dim": embed_dim}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        self.stages = Res2Stages(feature_channels, channels, depths, base_width, scale, expansion)
        first, *rest = self.stages.out_channels
        self.halve = nn.ModuleList(halving(before) for before in (first, *rest[:-1]))
        self.fuse = nn.ModuleList(AttentionalFusion(out) for out in rest)
        self.pooling = pooling(rest[-1] * self.stages.out_dim(feature_dim))
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels * dim / 8, frames / 8)` and its mask."""
        (fused, mask), *later = self.stages(as_planes(features), mask)
        for (stage, stage_mask), halve, fuse in zip(later, self.halve, self.fuse, strict=True):
            fused, mask = fuse(stage, halve(apply_mask_2d(fused, mask))), stage_mask
        return fused.flatten(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling(*self.frame_level(features, mask)))
