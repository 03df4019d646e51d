"""Convolutions over frequency and time, then a recurrent network over what they see.

Sainath, Vinyals, Senior, Sak: "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks", ICASSP
2015, which has a linear layer between the two to narrow the planes. Here the LSTM runs in both directions, and a
pooling over time takes the place of frame-wise outputs. The paper gives no number of parameters.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.conv_pool import ConvPool2d
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.recurrence import LstmStack

TIME_POOLS = (2, 2, 1)  # frames that each convolution takes together: the LSTM sees one every 40 ms


class CnnLstm(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling over time for a number of channels.
        feature_channels: planes of the features, such as derivatives.
        channels: of the three convolutions, each of which halves the frequencies.
        hidden: cells of each layer and direction, and width of the linear layer below.
        layers: of LSTM above each other.
        bidirectional: whether every frame sees what comes after it, too.
        embed_dim: size of the embedding.
        dropout: between the layers, 0 to below 1.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        channels: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        layers: int = 2,
        bidirectional: bool = True,
        embed_dim: int = 256,
        dropout: float = 0.0,
    ):
        super().__init__()
        if len(channels) != len(TIME_POOLS) or min(channels) < 1:
            raise ValueError(f"channels={list(channels)} must name {len(TIME_POOLS)} widths, each at least 1")
        if embed_dim < 1:
            raise ValueError(f"embed_dim={embed_dim} must be at least 1")
        self.embed_dim = embed_dim
        widths = [feature_channels, *channels]
        self.convs = nn.ModuleList(map(ConvPool2d, widths[:-1], widths[1:], TIME_POOLS))
        rows = -(-feature_dim // 2 ** len(channels))
        self.stack = LstmStack(hidden, hidden, layers, bidirectional, dropout)
        self.narrow = nn.Linear(channels[-1] * rows, hidden)
        self.pooling = pooling(self.stack.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = as_planes(features)  # (batch, channels, feature_dim, frames)
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        for conv in self.convs:
            x, mask = conv(x, mask)
        x = self.narrow(x.flatten(1, 2).transpose(1, 2))  # (batch, frames, hidden)
        counts = None if mask is None else mask.sum(dim=-1).squeeze(1)
        return self.embedding_norm(self.project(self.pooling(self.stack(x, counts).transpose(1, 2), mask)))
