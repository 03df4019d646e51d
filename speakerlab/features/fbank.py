"""Log-mel filter bank as Kaldi computes it, batched and differentiable.

Povey et al.: "The Kaldi Speech Recognition Toolkit", ASRU 2011; agrees with `torchaudio.compliance.kaldi.fbank`.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speakerlab.features.framing import FRAME_MS, SHIFT_MS, Framing, power_spectrum

PREEMPHASIS = 0.97
INT16_SCALE = 32768.0  # Kaldi reads 16-bit integers; the log floor and energies are on that scale
WINDOWS: dict[str, Callable[[int], Tensor]] = {  # samples -> window
    "povey": lambda length: torch.hann_window(length, periodic=False, dtype=torch.float64).pow(0.85),
    "hamming": lambda length: torch.hamming_window(length, periodic=False, dtype=torch.float64),
}


def mel_filters(num_mels: int, fft_size: int, sample_rate: int, low_hz: float, high_hz: float) -> NDArray:
    """Triangular filters, equally spaced and straight-sided on the mel scale 1127 ln(1 + f/700).

    Returns:
        `(fft_size // 2 + 1, num_mels)` weights of the power spectrum's bins.
    """
    bins = np.arange(fft_size // 2 + 1) * sample_rate / fft_size
    bins = 1127.0 * np.log1p(bins / 700.0)
    low, high = (1127.0 * math.log1p(hertz / 700.0) for hertz in (low_hz, high_hz))
    edges = np.linspace(low, high, num_mels + 2)
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (center - left)
    falling = (right - bins[:, None]) / (right - center)
    return np.minimum(rising, falling).clip(min=0.0).astype(np.float32)


def mel_edges(num_mels: int, high_hz: float) -> NDArray:
    """Where so many bands from 0 Hz on meet, equally spaced on the mel scale: `(num_mels + 2,)` hertz.

    >>> mel_edges(1, 700.0).round(2)
    array([  0.  , 289.95, 700.  ])
    """
    return 700.0 * np.expm1(np.linspace(0.0, math.log1p(high_hz / 700.0), num_mels + 2))


def checked_filters(num_mels: int, make: Callable[[int], NDArray]) -> Tensor:
    """`make(num_mels)`, `(bins, num_mels)`, in which no filter is empty: such a one would be a constant feature.

    Raises:
        ValueError: if the filters are so narrow that one falls between two bins; it names the largest number that
            works, as Kaldi refuses them too.
    """
    if num_mels < 1:
        raise ValueError(f"num_mels={num_mels} must be at least 1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa's advice on empty filters
        most = min(num_mels, 2 * len(make(1)))  # a bin lies in two filters
        largest = next((count for count in range(most, 0, -1) if (make(count) > 0).any(axis=0).all()), 0)
    if largest == num_mels:
        return torch.from_numpy(make(num_mels))
    raise ValueError(f"num_mels={num_mels} leaves filters empty; at most {largest} fit this band and transform")


class Fbank(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, num_mels), frame counts`.

    Frames are 25 ms every `shift_ms` without padding: `1 + (samples - 400) // 160` at 16 kHz and 10 ms. Each loses its
    mean, is pre-emphasised and windowed.

    Args:
        num_mels: filters, which is `dim`.
        sample_rate: in hertz.
        low_hz: lower edge of the first filter.
        high_hz: upper edge of the last filter; 0 or less counts from the Nyquist frequency, as in Kaldi.
        shift_ms: from one frame's start to the next, 1 to 25.
        window: "povey", Kaldi's own, or "hamming", as WeSpeaker has it.

    Raises:
        ValueError: if the band is empty or leaves the spectrum, a filter would be empty, the shift is out of range or
            the window unknown; or at `forward` if the audio is shorter than a frame.
    """

    def __init__(
        self,
        num_mels: int = 80,
        sample_rate: int = 16000,
        low_hz: float = 20.0,
        high_hz: float = 0.0,
        shift_ms: int = SHIFT_MS,
        window: str = "povey",
    ):
        super().__init__()
        if not 1 <= shift_ms <= FRAME_MS:
            raise ValueError(f"shift_ms={shift_ms} must lie in 1 to {FRAME_MS}")
        if window not in WINDOWS:
            raise ValueError(f"window={window} must be one of {', '.join(WINDOWS)}")
        nyquist = sample_rate / 2
        top = high_hz if high_hz > 0 else nyquist + high_hz
        if not 0 <= low_hz < top <= nyquist:
            raise ValueError(f"low_hz={low_hz} and high_hz={high_hz} must span a band within 0 to {nyquist:g} Hz")
        self.dim = num_mels
        self.channels = 1
        self.log_energies = True
        self.shift_ms = shift_ms
        self.framing = Framing(sample_rate, shift_ms)
        self.fft_size = 2 ** math.ceil(math.log2(self.framing.length))
        self.register_buffer("window", WINDOWS[window](self.framing.length).float(), persistent=False)
        filters = checked_filters(num_mels, lambda count: mel_filters(count, self.fft_size, sample_rate, low_hz, top))
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        frames = self.framing.split(waveform * INT16_SCALE)  # (batch, frames, length)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        # Kaldi lets a frame's first sample precede itself.
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        power = power_spectrum(frames - PREEMPHASIS * previous, self.window, self.fft_size)
        return (power @ self.filters).clamp(min=torch.finfo(torch.float32).eps).log(), self.framing.counts(lengths)
