"""Statistics pooling: mean and standard deviation over time.

Snyder et al.: "Deep Neural Network Embeddings for Text-Independent Speaker Verification", Interspeech 2017.
"""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask
from speakerlab.encoders.layers.statistics import utterance_statistics


class Statistics(nn.Module):
    """`(batch, channels, frames) -> (batch, 2 * channels)`, in float32.

    Args:
        channels: of the input.
        unbiased: variances divide by the number of frames less one, as WeSpeaker's.
    """

    def __init__(self, channels: int, unbiased: bool = False):
        super().__init__()
        self.unbiased = unbiased
        self.out_dim = 2 * channels

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return torch.cat(utterance_statistics(apply_mask(x, mask).float(), mask, self.unbiased), dim=1)
