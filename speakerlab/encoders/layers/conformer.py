"""Conformer blocks.

Gulati et al.: "Conformer: Convolution-augmented Transformer for Speech Recognition", Interspeech 2020; its relative
positions are of Dai et al.: "Transformer-XL: Attentive Language Models beyond a Fixed-Length Context", ACL 2019.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.masking import apply_mask

LONGEST_WAVE = 10000.0  # of the sinusoids, in radians' frames


def relative_positions(frames: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sinusoids of the distances `frames - 1` (far in the past) down to `1 - frames`: `(2 * frames - 1, width)`.

    Sine and cosine of one frequency are neighbours, as in Vaswani et al., NeurIPS 2017.
    """
    distances = torch.arange(frames - 1, -frames, -1, device=device, dtype=torch.float32)
    powers = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    angles = distances[:, None] * LONGEST_WAVE**-powers
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def shift_to_keys(scores: Tensor) -> Tensor:
    """Scores by distance to scores by key.

    `(..., frames, 2 * frames - 1) -> (..., frames, frames)`: of query `i`, whose column `d` is of the distance
    `frames - 1 - d`, column `j` is of the distance `i - j`. Row `i` has to move left by `frames - 1 - i`, which an
    extra column and another view do for all rows at once (Dai et al., appendix B).

    >>> shift_to_keys(torch.tensor([[1, 0, -1], [1, 0, -1]]))
    tensor([[ 0, -1],
            [ 1,  0]])
    """
    frames = scores.shape[-2]
    padded = F.pad(scores, (1, 0)).flatten(-2)  # (..., frames * 2 * frames)
    return padded[..., frames:].unflatten(-1, (frames, 2 * frames - 1))[..., :frames]


class RelativeAttention(nn.Module):
    """Self-attention that sees distances rather than positions: `(batch, frames, width) -> (batch, frames, width)`.

    The score of query i and key j is ((q_i + u) . k_j + (q_i + v) . W r_(i - j)) / sqrt(width / heads).

    Args:
        width: a multiple of 2 and of `heads`.
        heads: parts of the width.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.empty(heads, width // heads))  # u
        self.position_bias = nn.Parameter(torch.empty(heads, width // heads))  # v
        nn.init.xavier_uniform_(self.content_bias)
        nn.init.xavier_uniform_(self.position_bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """`positions`: `(2 * frames - 1, width)`; `mask`: `(batch, 1, frames)`, which no frame looks beyond."""
        query = self.query(x).unflatten(-1, (self.heads, -1))  # (batch, frames, heads, width / heads)
        key, value = (self._by_head(layer(x)) for layer in (self.key, self.value))
        by_distance = (query + self.position_bias).transpose(1, 2) @ self._by_head(self.position(positions)).mT
        bias = shift_to_keys(by_distance) / math.sqrt(key.shape[-1])  # (batch, heads, frames, frames)
        if mask is not None:
            bias = bias.masked_fill(~mask.unsqueeze(1), float("-inf"))
        query = (query + self.content_bias).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query.to(value.dtype), key, value, bias.to(value.dtype))
        return self.out(torch.cat(attended.unbind(1), dim=-1))  # a view of all heads has strides that export loses

    def _by_head(self, x: Tensor) -> Tensor:
        """`(..., frames, width) -> (..., heads, frames, width / heads)`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class ConvolutionModule(nn.Module):
    """1x1 convolution with a gate, convolution of each channel over time, batch norm, Swish, 1x1 convolution.

    `(batch, frames, width) -> (batch, frames, width)`.
    """

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.expand = nn.Conv1d(width, 2 * width, 1)
        self.temporal = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm1d(width)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = F.glu(self.expand(x.transpose(1, 2)), dim=1)  # (batch, width, frames)
        x = F.silu(self.norm(self.temporal(apply_mask(x, mask))))
        return self.mix(x).transpose(1, 2)


def feed_forward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, width))


class ConformerBlock(nn.Module):
    """Half a feed-forward layer, attention, convolution, the other half, each with a skip, and a layer norm (figure 1).

    `(batch, frames, width) -> (batch, frames, width)`.

    Args:
        width: of a frame.
        heads: of the attention.
        hidden: width inside the feed-forward layers.
        kernel: odd frames of the convolution.
        dropout: of what is added to the skips, and inside the feed-forward layers.
    """

    def __init__(self, width: int, heads: int, hidden: int, kernel: int, dropout: float):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.before = feed_forward(width, hidden, dropout)
        self.attention = RelativeAttention(width, heads)
        self.convolution = ConvolutionModule(width, kernel)
        self.after = feed_forward(width, hidden, dropout)
        self.last_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        x = x + 0.5 * self.dropout(self.before(self.norms[0](x)))
        x = x + self.dropout(self.attention(self.norms[1](x), positions, mask))
        x = x + self.dropout(self.convolution(self.norms[2](x), mask))
        x = x + 0.5 * self.dropout(self.after(self.norms[3](x)))
        return self.last_norm(x)
