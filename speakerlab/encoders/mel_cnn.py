"""Convolutional network on mel spectrograms of a fixed size: no paper's, but a first system done well.

Five blocks of convolution, batch norm, ReLU and 2x2 max pooling, in the manner of Simonyan, Zisserman: "Very Deep
Convolutional Networks for Large-Scale Image Recognition", ICLR 2015. 64 mel bands by 300 frames become 256 planes of 2
by 10. These are pooled over time, and not flattened into a dense layer of 1.3 M weights with one for each moment, so
that the network takes any length, too (frames=default). A dense layer with dropout gives the embedding.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.conv_pool import ConvPool2d
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.masking import frame_mask


class MelCnn(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: mel bands.
        pooling: makes the pooling over time for a number of channels.
        feature_channels: planes of the features, such as derivatives.
        channels: of the blocks, each of which halves the bands and the frames.
        embed_dim: size of the embedding.
        dropout: share of the pooled values that training silences, 0 to below 1.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        channels: tuple[int, ...] = (32, 64, 128, 256, 256),
        embed_dim: int = 256,
        dropout: float = 0.3,
    ):
        super().__init__()
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)} must name at least one block, each at least 1 wide")
        if embed_dim < 1:
            raise ValueError(f"embed_dim={embed_dim} must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to below 1")
        self.embed_dim = embed_dim
        widths = [feature_channels, *channels]
        self.blocks = nn.ModuleList(map(ConvPool2d, widths[:-1], widths[1:]))
        rows = -(-feature_dim // 2 ** len(channels))
        self.pooling = pooling(channels[-1] * rows)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = as_planes(features)  # (batch, channels, feature_dim, frames)
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        for block in self.blocks:
            x, mask = block(x, mask)
        pooled = self.pooling(x.flatten(1, 2), mask)  # of (batch, channels * rows, frames)
        return self.embedding_norm(self.project(self.dropout(pooled)))
