"""Attentive statistics by several heads, each with several queries; with one of either, self-attentive pooling.

India, Safari, Hernando: "Self Multi-Head Attention for Speaker Recognition", Interspeech 2019; Zhao, Ma, Liu, Xu:
"Multi-Query Multi-Head Attention Pooling and Inter-TopK Penalty for Speaker Verification", ICASSP 2022; Cai, Chen, Li:
"Exploring the Encoding Layer and Loss Function in End-to-End Speaker and Language Recognition System", Odyssey 2018.
"""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask
from speakerlab.encoders.layers.statistics import weighted_statistics


class MultiQueryMultiHead(nn.Module):
    """`(batch, channels, frames) -> (batch, out_dim)`, in float32.

    The channels are divided among the heads. Every head and query weighs the frames by an attention over the head's own
    channels: softmax over time of v . tanh(W x + b).

    Args:
        channels: of the input, a multiple of `heads`.
        heads: parts of the channels.
        queries: attentions of each head.
        bottleneck: width of each attention's hidden layer.
        deviation: weighted standard deviations beside the weighted means.

    Raises:
        ValueError: if a number is not positive, or `channels` is no multiple of `heads`.
    """

    def __init__(self, channels: int, heads: int = 8, queries: int = 1, bottleneck: int = 64, deviation: bool = True):
        super().__init__()
        for name, value in {"heads": heads, "queries": queries, "bottleneck": bottleneck}.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if channels % heads:
            raise ValueError(f"heads={heads} must divide the {channels} channels that are pooled")
        self.heads = heads
        self.queries = queries
        self.deviation = deviation
        self.out_dim = channels * queries * (2 if deviation else 1)
        # Grouped: head h sees its own channels alone.
        self.hidden = nn.Conv1d(channels, heads * queries * bottleneck, 1, groups=heads)
        self.score = nn.Conv1d(heads * queries * bottleneck, heads * queries, 1, groups=heads * queries)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights `(batch, heads * queries, frames)`: float32, summing to one over each item's own frames."""
        scores = self.score(self.hidden(apply_mask(x, mask)).tanh()).float()  # (batch, heads * queries, frames)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weights = self.attention(x, mask).unflatten(1, (self.heads, self.queries, 1))  # one axis more: for the width
        with torch.autocast(x.device.type, enabled=False):
            parts = apply_mask(x, mask).float().unflatten(1, (self.heads, 1, -1))  # (batch, heads, 1, width, frames)
            mean, deviation = weighted_statistics(parts, weights)  # (batch, heads, queries, width)
            pooled = torch.cat([mean, deviation], dim=-1) if self.deviation else mean
            return pooled.flatten(1)
