"""Instance normalisation with a learned gain and offset.

Ulyanov, Vedaldi, Lempitsky: "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.
"""

import torch
from torch import Tensor, nn

from speakerlab.features.norm.mean_variance import MeanVarianceNorm


class InstanceNorm(nn.Module):
    """Mean and variance normalisation over each item's own frames, then a gain and an offset for each dimension.

    Args:
        dim: of the features.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = MeanVarianceNorm()
        self.gain = nn.Parameter(torch.ones(dim))
        self.offset = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.norm(features, lengths) * self.gain + self.offset
