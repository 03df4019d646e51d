"""Cepstral (or spectral) mean subtraction over an utterance."""

from torch import Tensor, nn

from speakerlab.features.frames import frame_mean


class MeanNorm(nn.Module):
    """Subtracts each item's mean over its own frames."""

    def __init__(self):
        super().__init__()

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        return features - frame_mean(features, lengths)
