"""Recurrent network over frames, in one direction or both.

Wan, Wang, Papir, Lopez Moreno: "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, has three layers of
LSTM; Chowdhury, Wang, Lopez Moreno, Wan: "Attention-Based Models for Text-Dependent Speaker Verification", ICASSP 2018,
weigh all frames by attention instead of taking the last. Neither publishes a number of parameters. Here the layers have
no projections, which ONNX has no operator for, and the width that costs about as much.
"""

from collections.abc import Callable

from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask, frame_mask
from speakerlab.encoders.layers.recurrence import LstmStack


class Lstm(nn.Module):
    """`(batch, frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (an attention).
        hidden: cells of each layer and direction.
        layers: above each other.
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
        hidden: int = 512,
        layers: int = 3,
        bidirectional: bool = False,
        embed_dim: int = 256,
        dropout: float = 0.0,
    ):
        super().__init__()
        for name, size in {"feature_dim": feature_dim, "embed_dim": embed_dim}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.embed_dim = embed_dim
        self.stack = LstmStack(feature_dim, hidden, layers, bidirectional, dropout)
        self.pooling = pooling(self.stack.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[1])
        own = apply_mask(features.transpose(1, 2), mask).transpose(1, 2)  # (batch, frames, feature_dim)
        states = self.stack(own, lengths).transpose(1, 2)  # (batch, out_dim, frames)
        return self.embedding_norm(self.project(self.pooling(states, mask)))
