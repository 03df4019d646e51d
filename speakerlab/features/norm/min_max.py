"""Scaling of an utterance's features to a fixed range, as images are."""

import torch
from torch import Tensor, nn

from speakerlab.features.frames import frame_mask

TINY = 1e-6  # a constant utterance has no range; it becomes `low`


class MinMaxNorm(nn.Module):
    """The smallest value of each item's own frames becomes `low`, the largest `high`.

    Raises:
        ValueError: unless `low` is below `high`.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0):
        super().__init__()
        if not low < high:
            raise ValueError(f"low={low} must be below high={high}")
        self.low = low
        self.high = high

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        beyond = torch.zeros((), dtype=torch.bool) if lengths is None else ~frame_mask(features, lengths)
        axes = tuple(range(1, features.ndim))
        beyond = beyond.to(features.device)
        smallest = features.masked_fill(beyond, float("inf")).amin(dim=axes, keepdim=True)
        largest = features.masked_fill(beyond, float("-inf")).amax(dim=axes, keepdim=True)
        share = (features - smallest) / (largest - smallest).clamp(min=TINY)
        return self.low + (self.high - self.low) * share
