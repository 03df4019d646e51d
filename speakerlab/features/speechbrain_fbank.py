"""Log-mel filter bank as SpeechBrain computes it.

Ravanelli et al.: "SpeechBrain: A General-Purpose Speech Toolkit", 2021; `speechbrain.lobes.features.Fbank` with its
defaults. Unlike Kaldi's, frames are centred, filters are straight-sided over hertz, each as wide above its centre as
below, and nothing is more than 80 dB below an utterance's loudest value.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speakerlab.features.fbank import checked_filters, mel_edges
from speakerlab.features.frames import frame_mask
from speakerlab.features.framing import CentredFraming, power_spectrum

FLOOR = 1e-10  # of the power: -100 dB
RANGE_DB = 80.0


def hertz_filters(num_mels: int, fft_size: int, sample_rate: int) -> NDArray:
    """Triangles equally spaced on the mel scale from 0 Hz to half the sample rate, as wide above as below in hertz.

    Returns:
        `(fft_size // 2 + 1, num_mels)` weights of the power spectrum's bins.
    """
    edges = mel_edges(num_mels, sample_rate / 2)
    bins = np.linspace(0.0, sample_rate / 2, fft_size // 2 + 1)
    away = np.abs(bins[:, None] - edges[1:-1]) / np.diff(edges)[:-1]
    return (1.0 - away).clip(min=0.0).astype(np.float32)


class SpeechbrainFbank(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, num_mels), frame counts`.

    10 log10 of the Hamming-windowed frames' power in mel bands, in dB; frames of 25 ms, centred every 10 ms, silence
    beyond the ends: `1 + samples // 160` at 16 kHz.

    Args:
        num_mels: bands, which is `dim`.
        sample_rate: in hertz.

    Raises:
        ValueError: if a filter would be empty; or at `forward` if the audio is shorter than a frame.
    """

    def __init__(self, num_mels: int = 80, sample_rate: int = 16000):
        super().__init__()
        self.dim = num_mels
        self.channels = 1
        self.framing = CentredFraming(sample_rate)
        self.register_buffer("window", self.framing.hamming(), persistent=False)
        filters = checked_filters(num_mels, lambda count: hertz_filters(count, self.framing.fft_size, sample_rate))
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        frames = self.framing.split(waveform, lengths)
        power = power_spectrum(frames, self.window, self.framing.fft_size)
        decibels = 10.0 * (power @ self.filters).clamp(min=FLOOR).log10()
        counts = self.framing.counts(lengths)
        own = decibels if counts is None else decibels.masked_fill(~frame_mask(decibels, counts), -torch.inf)
        return decibels.maximum(own.amax(dim=(1, 2), keepdim=True) - RANGE_DB), counts
