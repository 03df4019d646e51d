"""From a waveform to what an encoder sees."""

import torch
from torch import Tensor, nn


class FeaturePipeline(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, [channels,] frames, dim), frame counts or None`.

    Runs in float32 whatever the precision around it.

    Args:
        extract: waveform -> features; has `dim`, `channels` and `forward(waveform, lengths) -> features, frame counts`.
        norm: on the features; None leaves them.

    Attributes:
        dim: values a frame.
        channels: 1 for features without a channel axis.
    """

    def __init__(self, extract: nn.Module, norm: nn.Module | None = None):
        super().__init__()
        self.extract = extract
        self.norm = norm
        self.dim: int = extract.dim
        self.channels: int = extract.channels

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        with torch.autocast(waveform.device.type, enabled=False):
            features, counts = self.extract(waveform.float(), lengths)
            if self.norm is not None:
                features = self.norm(features, counts)
        return features, counts
