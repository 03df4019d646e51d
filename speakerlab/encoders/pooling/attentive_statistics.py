"""Attentive statistics pooling, with or without the context of the whole utterance."""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask
from speakerlab.encoders.layers.statistics import VARIANCE_FLOOR, utterance_statistics, weighted_statistics

# What is done to the hidden layer before the scores.
HIDDEN = ("relu_norm_tanh", "relu_norm", "tanh")


class AttentiveStatistics(nn.Module):
    """Attentive statistics pooling with a weight for each channel and frame (Okabe et al., Interspeech 2018), and,
    with `global_context`, the utterance's mean and deviation beside each frame, as ECAPA-TDNN (Desplanques et al.,
    Interspeech 2020, section 3.1) has it.

    Args:
        channels: channels of the input.
        bottleneck: width of the attention's hidden layer.
        global_context: whether the attention sees the statistics of the whole utterance.
        hidden: what is done to the hidden layer: "tanh" (Okabe et al., WeSpeaker), "relu_norm_tanh" with a batch norm
            between the two (SpeechBrain's ECAPA-TDNN), or "relu_norm" (voxceleb_trainer, SpeechBrain's ResNet).
        unbiased: the context's variances divide by the number of frames less one, as WeSpeaker's.
        variance_floor: of all variances; peers differ, which shows where a channel hardly changes over time.

    Raises:
        ValueError: for another `hidden`, or a floor that is not above 0, where gradients would be infinite.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int = 128,
        global_context: bool = True,
        hidden: str = "relu_norm_tanh",
        unbiased: bool = False,
        variance_floor: float = VARIANCE_FLOOR,
    ):
        super().__init__()
        if hidden not in HIDDEN:
            raise ValueError(f"hidden={hidden} must be one of {', '.join(HIDDEN)}")
        if not variance_floor > 0:
            raise ValueError(f"variance_floor={variance_floor} must be above 0")
        self.unbiased = unbiased
        self.variance_floor = variance_floor
        self.out_dim = 2 * channels
        self.global_context = global_context
        self.frame_projection = nn.Conv1d(channels, bottleneck, 1)
        # A 1x1 convolution over [frame; mean; deviation] is the sum of three products. The last two are the same for
        # every frame, so they are computed once an utterance: a third of the multiplications, the same parameters.
        self.context_projection = nn.Linear(2 * channels, bottleneck, bias=False) if global_context else None
        self.norm = nn.BatchNorm1d(bottleneck) if "norm" in hidden else None
        self.bounded = "tanh" in hidden
        self.score = nn.Conv1d(bottleneck, channels, 1)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights `(batch, channels, frames)`: float32, summing to one over each item's own frames."""
        hidden = self.frame_projection(x)  # (batch, bottleneck, frames)
        if self.context_projection is not None:
            with torch.autocast(x.device.type, enabled=False):
                found = utterance_statistics(x.float(), mask, self.unbiased, self.variance_floor)
                context = torch.cat(found, dim=1)  # (batch, 2 * channels)
            hidden = hidden + self.context_projection(context).unsqueeze(-1)
        if self.norm is not None:
            hidden = self.norm(hidden.relu())
        scores = self.score(hidden.tanh() if self.bounded else hidden).float()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        weights = self.attention(x, mask)
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat(weighted_statistics(apply_mask(x, mask).float(), weights, self.variance_floor), dim=1)
