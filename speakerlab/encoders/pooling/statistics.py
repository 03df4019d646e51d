"""Statistics pooling: mean and standard deviation over time.

Snyder et al.: "Deep Neural Network Embeddings for Text-Independent Speaker Verification", Interspeech 2017.
"""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask
from speakerlab.encoders.layers.statistics import uniform_weights, weighted_statistics


class Statistics(nn.Module):
    """`(batch, channels, frames) -> (batch, 2 * channels)`, in float32.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.out_dim = 2 * channels

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat(weighted_statistics(apply_mask(x, mask).float(), uniform_weights(x, mask)), dim=1)
