"""Attentive statistics pooling, with or without the context of the whole utterance."""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask
from speakerlab.encoders.layers.statistics import uniform_weights, weighted_statistics


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling with a weight for each channel and frame (Okabe et al., Interspeech 2018), and,
    with `global_context`, the utterance's mean and deviation beside each frame, as ECAPA-TDNN (Desplanques et al.,
    Interspeech 2020, section 3.1) has it.

    Args:
        channels: channels of the input.
        bottleneck: width of the attention's hidden layer.
        global_context: whether the attention sees the statistics of the whole utterance.
    """

    def __init__(self, channels: int, bottleneck: int = 128, global_context: bool = True):
        super().__init__()
        self.out_dim = 2 * channels
        self.global_context = global_context
        self.frame_projection = nn.Conv1d(channels, bottleneck, 1)
        # A 1x1 convolution over [frame; mean; deviation] is the sum of three products. The last two are the same for
        # every frame, so they are computed once an utterance: a third of the multiplications, the same parameters.
        self.context_projection = nn.Linear(2 * channels, bottleneck, bias=False) if global_context else None
        self.norm = nn.BatchNorm1d(bottleneck)
        self.score = nn.Conv1d(bottleneck, channels, 1)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights `(batch, channels, frames)`: float32, summing to one over each item's own frames."""
        hidden = self.frame_projection(x)  # (batch, bottleneck, frames)
        if self.context_projection is not None:
            with torch.autocast(x.device.type, enabled=False):
                uniform = uniform_weights(x, mask)
                context = torch.cat(weighted_statistics(x.float(), uniform), dim=1)  # (batch, 2 * channels)
            hidden = hidden + self.context_projection(context).unsqueeze(-1)
        scores = self.score(self.norm(hidden.relu()).tanh()).float()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weights = self.attention(x, mask)
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat(weighted_statistics(apply_mask(x, mask).float(), weights), dim=1)
