"""Log-mel spectrogram without Kaldi's pre-emphasis and dithering conventions, as librosa has it.

McFee et al.: "librosa: Audio and Music Signal Analysis in Python", SciPy 2015 (its Slaney-style mel filters).
"""

import librosa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speakerlab.features.fbank import checked_filters
from speakerlab.features.framing import Framing, power_spectrum

FLOOR = 1e-10  # of the power, as in librosa: -100 dB


class MelSpectrogram(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, num_mels), frame counts`.

    10 log10 of the Hann-windowed frames' power in area-normalised mel bands, in dB.

    Args:
        num_mels: bands, which is `dim`.
        sample_rate: in hertz.
        low_hz, high_hz: of the bands; None is half the sample rate.
        fft_size: at least the 25 ms of a frame.

    Raises:
        ValueError: for a band that is none, an empty filter, or a transform shorter than a frame.
    """

    def __init__(
        self,
        num_mels: int = 64,
        sample_rate: int = 16000,
        low_hz: float = 0.0,
        high_hz: float | None = None,
        fft_size: int = 512,
    ):
        super().__init__()
        top = sample_rate / 2 if high_hz is None else high_hz
        if not 0 <= low_hz < top <= sample_rate / 2:
            raise ValueError(
                f"low_hz={low_hz} and high_hz={high_hz} must span a band within 0 to {sample_rate / 2:g} Hz"
            )
        self.framing = Framing(sample_rate)
        if fft_size < self.framing.length:
            raise ValueError(f"fft_size={fft_size} must be at least a frame, {self.framing.length} samples")
        self.dim = num_mels
        self.channels = 1
        self.fft_size = fft_size
        self.register_buffer("window", torch.hann_window(self.framing.length), persistent=False)

        def make(count: int) -> NDArray:
            mels = librosa.filters.mel(sr=sample_rate, n_fft=fft_size, n_mels=count, fmin=low_hz, fmax=top)
            return mels.T.copy()

        self.register_buffer("filters", checked_filters(num_mels, make), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        power = power_spectrum(self.framing.split(waveform), self.window, self.fft_size)
        return 10.0 * (power @ self.filters).clamp(min=FLOOR).log10(), self.framing.counts(lengths)
