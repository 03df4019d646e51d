"""x-vector: a time-delay network (TDNN), statistics over time, one layer above them.

Snyder, Garcia-Romero, Sell, Povey, Khudanpur: "X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018.
The embedding is what its layer `segment6` gives before the nonlinearity. The loss stands in place of the layers after
it (`segment7`, softmax), which the paper drops after training. Parameters: 4,347,868 with 80-dimensional input;
4,204,508 with the paper's 24 (its count, which leaves out the same layers: 4.2 M); 4,610,524 with 80 and `segment7`,
where WeSpeaker (4.610 M) takes its embedding. The paper's input has 24 dimensions, Kaldi's recipes have 23 or 30 MFCC;
the YAML takes 80 log-mel bands, as modern toolkits do. The pooling sees every frame, as in the paper's table 1, with
zeros beyond both ends; Kaldi and WeSpeaker leave out seven frames at either end, which would leave nothing of a very
short utterance.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask, frame_mask
from speakerlab.encoders.layers.res2 import ConvReluNorm

# Kernel and dilation of the frame-level layers: contexts {t-2..t+2}, {t-2, t, t+2}, {t-3, t, t+3}, {t} and {t}.
CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))


class XVector(nn.Module):
    """`(batch, frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: statistics).
        channels: width of the frame-level layers but the last (the paper: 512).
        pooled_channels: width of the last (the paper: 1500).
        embed_dim: size of the embedding.
        segment7: another layer of that size, after ReLU and batch norm, whose output is the embedding instead.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        channels: int = 512,
        pooled_channels: int = 1500,
        embed_dim: int = 512,
        segment7: bool = False,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "channels": channels,
            "pooled_channels": pooled_channels,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        widths = [feature_dim] + [channels] * (len(CONTEXTS) - 1) + [pooled_channels]
        # The norms have no gain and offset, as in Kaldi: an affine layer or the pooling comes next.
        self.layers = nn.ModuleList(
            ConvReluNorm(before, after, kernel, dilation, affine=False)
            for before, after, (kernel, dilation) in zip(widths[:-1], widths[1:], CONTEXTS, strict=True)
        )
        self.pooling = pooling(pooled_channels)
        self.segment6 = nn.Linear(self.pooling.out_dim, embed_dim)
        self.segment7 = (
            nn.Sequential(nn.ReLU(), nn.BatchNorm1d(embed_dim, affine=False), nn.Linear(embed_dim, embed_dim))
            if segment7
            else nn.Identity()
        )

    def frame_level(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """What the pooling sees: `(batch, pooled_channels, frames)`."""
        x = features.transpose(1, 2)
        for layer in self.layers:
            x = layer(apply_mask(x, mask))
        return x

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[1])
        return self.segment7(self.segment6(self.pooling(self.frame_level(features, mask), mask)))
