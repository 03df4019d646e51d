"""Normalisation of each dimension (frequency bin) by the training set's statistics."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from speakerlab.features.frames import VARIANCE_FLOOR


class TrainingSetNorm(nn.Module):
    """Each dimension gets mean 0 and standard deviation 1 over the training set.

    Args:
        dim: of the features.
        channels: each has statistics of its own.
    """

    def __init__(self, dim: int, channels: int = 1):
        super().__init__()
        shape = (dim,) if channels == 1 else (channels, 1, dim)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics of features `(batch, [channels,] frames, dim)`, in one pass.

        Raises:
            ValueError: if there are none.
        """
        count, total, squares = 0, 0.0, 0.0
        for features in batches:
            values = features.double()  # E[x^2] - mean^2 over millions of frames
            axes = (0, features.ndim - 2)
            count += len(features) * features.shape[-2]
            total = total + values.sum(dim=axes)  # ([channels,] dim)
            squares = squares + values.square().sum(dim=axes)
        if count == 0:
            raise ValueError("there are no features to take statistics of")
        mean = total / count
        variance = squares / count - mean.square()
        self.mean.copy_(mean.view(self.mean.shape))
        self.deviation.copy_(variance.clamp(min=VARIANCE_FLOOR).sqrt().view(self.mean.shape))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        return (features - self.mean) / self.deviation
