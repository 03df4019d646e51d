"""TitaNet: ContextNet's blocks of separable convolutions, every one with the context of the whole utterance.

Koluguri, Park, Ginsburg: "TitaNet: Neural Model for Speaker Representation with 1D Depth-Wise Separable Convolutions
and Global Context", ICASSP 2022, after Han et al.: "ContextNet: Improving Convolutional Neural Networks for Automatic
Speech Recognition with Global Context", Interspeech 2020. Kernels, widths and norms are those of the authors'
configurations in NeMo. Parameters with 80-dimensional input: 6,825,264 (S), 10,220,336 (M) and 22,122,288 (L). The
published numbers count the classifier of 16,681 speakers too, which has 3,202,752: then M and L have 13.42 and 25.33 M
(published: 13.4 and 25.3). S has 10.03 M, as in its authors' configuration; the paper's 6.4 M fits none that they
published, and comes near 6.48 M, which is what `pooled_channels=1536` would give.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask, frame_mask
from speakerlab.encoders.layers.squeeze_excitation import SqueezeExcitation1d

FIRST_KERNEL = 3  # of the block before those with a skip, the paper's prolog
LAST_KERNEL = 1  # of the block after them, the epilog
NORM_EPS = 1e-3  # NeMo's


class SeparableConv(nn.Module):
    """Convolution of each channel over time, then of all channels at each frame, and batch norm.

    `(batch, in, frames) -> (batch, out, frames)`.

    Args:
        in_channels, out_channels: of the two together.
        kernel: odd number of frames.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.over_time = nn.Conv1d(
            in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False
        )
        self.over_channels = nn.Conv1d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(out_channels, eps=NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.norm(self.over_channels(self.over_time(apply_mask(x, mask))))


class Block(nn.Module):
    """Separable convolutions with ReLU and dropout between them, squeeze-and-excitation, a skip, ReLU and dropout.

    `(batch, in, frames) -> (batch, out, frames)`.

    Args:
        in_channels, out_channels: of the block.
        kernel: odd number of frames.
        repeats: convolutions.
        se_reduction: how many times narrower the gates' hidden layer is.
        skip: whether the input is added, after a 1x1 convolution and batch norm.
        dropout: 0 to below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        repeats: int,
        se_reduction: int,
        skip: bool,
        dropout: float,
    ):
        super().__init__()
        widths = [in_channels] + [out_channels] * repeats
        self.convs = nn.ModuleList(
            SeparableConv(before, after, kernel) for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.se = SqueezeExcitation1d(out_channels, out_channels // se_reduction, bias=False)
        self.skip = (
            nn.Sequential(
                nn.Conv1d(in_channels, out_channels, 1, bias=False), nn.BatchNorm1d(out_channels, eps=NORM_EPS)
            )
            if skip
            else None
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        first, *rest = self.convs
        y = first(x, mask)
        for conv in rest:
            y = conv(self.dropout(y.relu()), mask)
        y = self.se(y, mask)
        if self.skip is not None:
            y = y + self.skip(x)
        return self.dropout(y.relu())


class TitaNet(nn.Module):
    """`(batch, frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: attentive statistics with global context).
        channels: width of all blocks but the last (the paper: 256, 512 or 1024).
        kernels: odd kernel of each block with a skip, which the paper calls mega blocks.
        repeats: convolutions in each of them.
        pooled_channels: width of the last block.
        se_reduction: how many times narrower the squeeze-and-excitation gates' hidden layers are.
        dropout: in the blocks with a skip, 0 to below 1.
        embed_dim: size of the embedding.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        channels: int = 256,
        kernels: tuple[int, ...] = (7, 11, 15),
        repeats: int = 3,
        pooled_channels: int = 3072,
        se_reduction: int = 8,
        dropout: float = 0.1,
        embed_dim: int = 192,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "channels": channels,
            "repeats": repeats,
            "pooled_channels": pooled_channels,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if not kernels or min(kernels) < 1 or any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels={list(kernels)} must be one or more, each odd and at least 1")
        narrowest = min(channels, pooled_channels)
        if not 1 <= se_reduction <= narrowest:
            raise ValueError(f"se_reduction={se_reduction} must lie in 1 to {narrowest}, the channels of a block")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to below 1")
        self.embed_dim = embed_dim
        first = Block(feature_dim, channels, FIRST_KERNEL, 1, se_reduction, skip=False, dropout=0.0)
        mega = [Block(channels, channels, kernel, repeats, se_reduction, True, dropout) for kernel in kernels]
        last = Block(channels, pooled_channels, LAST_KERNEL, 1, se_reduction, skip=False, dropout=0.0)
        self.blocks = nn.ModuleList([first, *mega, last])
        self.pooling = pooling(pooled_channels)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """What the pooling sees: `(batch, pooled_channels, frames)`."""
        x = features.transpose(1, 2)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[1])
        pooled = self.pooling(self.frame_level(features, mask), mask)  # (batch, 2 * pooled_channels)
        return self.project(self.pooling_norm(pooled))
