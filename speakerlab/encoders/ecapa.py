"""ECAPA-TDNN.

Desplanques, Thienpondt, Demuynck: "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN
Based Speaker Verification", Interspeech 2020. Parameters with 80-dimensional input and 192-dimensional output:
6,194,432 for 512 channels and 14,660,800 for 1024. SpeechBrain's has 20,767,552: 1024 channels, 3072 after the
aggregation, mirror images beyond the ends of an utterance, and no batch norm after the projection. WeSpeaker's has no
batch norm after the aggregation, in the attention and after the projection: 6,190,720 and 14,657,088.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.res2 import ConvReluNorm, Res2Conv
from speakerlab.encoders.layers.squeeze_excitation import SqueezeExcitation1d


class SERes2Block(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, squeeze-and-excitation, and a skip (figure 2)."""

    def __init__(self, channels: int, kernel: int, dilation: int, scale: int, se_bottleneck: int, reflect: bool):
        super().__init__()
        self.expand = ConvReluNorm(channels, channels, 1)
        self.res2 = Res2Conv(channels, kernel, dilation, scale, reflect)
        self.merge = ConvReluNorm(channels, channels, 1)
        self.se = SqueezeExcitation1d(channels, se_bottleneck)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + self.se(self.merge(self.res2(self.expand(x), mask)), mask)


class Ecapa(nn.Module):
    """`(batch, frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: attentive statistics with global context).
        channels: width of the frame-level layers (the paper: 512 or 1024).
        embed_dim: size of the embedding.
        pooled_channels: width after multi-layer feature aggregation (the paper: 1536).
        se_bottleneck: width of the squeeze-and-excitation gates.
        scale: groups of the Res2 convolutions.
        dilations: one SE-Res2 block each.
        padding: what convolutions see beyond an utterance's ends: "zero", or "reflect" for its mirror image.
        aggregate_norm: a batch norm after the aggregation.
        final_norm: a batch norm after the projection.

    Raises:
        ValueError: if a size or a dilation is not positive, `channels` is no multiple of `scale`, or `padding` unknown.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        channels: int = 1024,
        embed_dim: int = 192,
        pooled_channels: int = 1536,
        se_bottleneck: int = 128,
        scale: int = 8,
        dilations: tuple[int, ...] = (2, 3, 4),
        padding: str = "zero",
        aggregate_norm: bool = True,
        final_norm: bool = True,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "channels": channels,
            "embed_dim": embed_dim,
            "pooled_channels": pooled_channels,
            "se_bottleneck": se_bottleneck,
            "scale": scale,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations={list(dilations)} must be one or more, each at least 1")
        if channels % scale:
            raise ValueError(f"channels={channels} must be a multiple of scale={scale}")
        if padding not in ("zero", "reflect"):
            raise ValueError(f"padding={padding} must be zero or reflect")
        reflect = padding == "reflect"
        self.embed_dim = embed_dim
        self.stem = ConvReluNorm(feature_dim, channels, kernel=5, reflect=reflect)
        self.blocks = nn.ModuleList(
            SERes2Block(channels, 3, dilation, scale, se_bottleneck, reflect) for dilation in dilations
        )
        self.aggregate = ConvReluNorm(channels * len(dilations), pooled_channels, 1, norm=aggregate_norm)
        self.pooling = pooling(pooled_channels)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)
        self.embedding_norm = nn.BatchNorm1d(embed_dim) if final_norm else nn.Identity()

    def frame_level(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """What the pooling sees: `(batch, pooled_channels, frames)`."""
        x = self.stem(features.transpose(1, 2), mask)  # (batch, channels, frames)
        outputs = []
        for block in self.blocks:
            x = block(x, mask)
            outputs.append(x)
        return self.aggregate(torch.cat(outputs, dim=1))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[1])
        pooled = self.pooling(self.frame_level(features, mask), mask)  # (batch, 2 * pooled_channels)
        return self.embedding_norm(self.project(self.pooling_norm(pooled)))
