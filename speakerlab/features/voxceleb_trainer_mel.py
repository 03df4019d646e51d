"""Log-mel spectrogram as voxceleb_trainer has it, by torchaudio's defaults.

Chung et al.: "In Defence of Metric Learning for Speaker Recognition", Interspeech 2020; with pre-emphasis Heo et al.:
"Clova Baseline System for the VoxCeleb Speaker Recognition Challenge 2020".
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speakerlab.features.fbank import checked_filters, mel_edges
from speakerlab.features.framing import CentredFraming, power_spectrum

FFT_SIZE = 512
OFFSET = 1e-6  # of the power, before the logarithm


def hertz_filters(num_mels: int, sample_rate: int) -> NDArray:
    """Triangles from each one's neighbour to the other, equally spaced on the mel scale from 0 Hz to half the rate.

    Returns:
        `(257, num_mels)` weights of the power spectrum's bins.
    """
    left, center, right = (mel_edges(num_mels, sample_rate / 2)[first : first + num_mels] for first in range(3))
    bins = np.linspace(0.0, sample_rate / 2, FFT_SIZE // 2 + 1)[:, None]
    rising, falling = (bins - left) / (center - left), (right - bins) / (right - center)
    return np.minimum(rising, falling).clip(min=0.0).astype(np.float32)


class VoxcelebTrainerMel(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, num_mels), frame counts`.

    Natural logarithm of the Hamming-windowed frames' power in mel bands; frames of 25 ms, centred every 10 ms, an
    item's mirror image beyond its ends: `1 + samples // 160` at 16 kHz.

    Args:
        num_mels: bands, which is `dim`.
        preemphasis: share of the sample before that is subtracted from each, 0 to below 1.
        sample_rate: in hertz.

    Raises:
        ValueError: for a pre-emphasis out of range, an empty filter, or a rate at which a frame is longer than the
            transform; or at `forward` if the audio is shorter than a frame.
    """

    def __init__(self, num_mels: int = 40, preemphasis: float = 0.0, sample_rate: int = 16000):
        super().__init__()
        if not 0 <= preemphasis < 1:
            raise ValueError(f"preemphasis={preemphasis} must lie in 0 to below 1")
        self.dim = num_mels
        self.channels = 1
        self.preemphasis = preemphasis
        self.framing = CentredFraming(sample_rate, FFT_SIZE, reflect=True)
        self.register_buffer("window", self.framing.hamming(), persistent=False)
        filters = checked_filters(num_mels, lambda count: hertz_filters(count, sample_rate))
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if self.preemphasis:
            # Before the first sample comes the second, as in a mirror.
            previous = torch.cat([waveform[:, 1:2], waveform[:, :-1]], dim=1)
            waveform = waveform - self.preemphasis * previous
        frames = self.framing.split(waveform, lengths)
        power = power_spectrum(frames, self.window, FFT_SIZE)
        return (power @ self.filters + OFFSET).log(), self.framing.counts(lengths)
