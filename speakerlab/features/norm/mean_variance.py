"""Mean and variance normalisation over an utterance."""

from torch import Tensor, nn

from speakerlab.features.frames import frame_deviation, frame_mean


class MeanVarianceNorm(nn.Module):
    """Each dimension gets mean 0 and standard deviation 1 over each item's own frames.

    Args:
        eps: added to the variance, so that what hardly changes stays small; 1e-5 is that of torch's `InstanceNorm1d`.

    Raises:
        ValueError: if it is below 0.
    """

    def __init__(self, eps: float = 0.0):
        super().__init__()
        if not eps >= 0:
            raise ValueError(f"eps={eps} must be at least 0")
        self.eps = eps

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mean = frame_mean(features, lengths)
        return (features - mean) / (frame_deviation(features, mean, lengths).square() + self.eps).sqrt()
