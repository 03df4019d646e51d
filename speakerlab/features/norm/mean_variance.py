"""Mean and variance normalisation over an utterance."""

from torch import Tensor, nn

from speakerlab.features.frames import frame_deviation, frame_mean


class MeanVarianceNorm(nn.Module):
    """Each dimension gets mean 0 and standard deviation 1 over each item's own frames."""

    def __init__(self):
        super().__init__()

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mean = frame_mean(features, lengths)
        return (features - mean) / frame_deviation(features, mean, lengths)
