"""Band-pass filters that learn nothing but their band edges.

Ravanelli, Bengio: "Speaker Recognition from Raw Waveform with SincNet", SLT 2018; the odd filters beside the even ones
from Pariente, Cornell, Deleforge, Vincent: "Filterbank Design for End-to-End Speech Separation", ICASSP 2020.
"""

import math

import torch
from torch import Tensor, nn

LOWEST_HZ = 30.0  # where the mel-spaced edges start
LEAST_LOW_HZ = 50.0  # added to every lower edge, so that none reaches 0 Hz
LEAST_BAND_HZ = 50.0  # added to every width


def mel(hz: float) -> float:
    """O'Shaughnessy's mel scale."""
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def hertz(mels: Tensor) -> Tensor:
    """The inverse of `mel`."""
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)


class SincBands(nn.Module):
    """A bank of Hamming-windowed band-pass filters, mel-spaced at first.

    Args:
        count: filters.
        taps: odd length of each.
        sample_rate: in hertz.

    Raises:
        ValueError: for an even or too short filter, none at all, or a rate that leaves no room for bands.
    """

    def __init__(self, count: int, taps: int, sample_rate: int):
        super().__init__()
        if count < 1:
            raise ValueError(f"filters={count} must be at least 1")
        if taps < 3 or taps % 2 == 0:
            raise ValueError(f"taps={taps} must be odd and at least 3")
        if sample_rate < 1000:
            raise ValueError(f"sample_rate={sample_rate} must be at least 1000")
        self.taps = taps
        self.sample_rate = sample_rate
        highest = sample_rate / 2 - LEAST_LOW_HZ - LEAST_BAND_HZ
        edges = hertz(torch.linspace(mel(LOWEST_HZ), mel(highest), count + 1, dtype=torch.float64)) / sample_rate
        # In cycles a sample: in hertz, steps of a usual learning rate would move an edge by thousandths of a hertz.
        self.low = nn.Parameter(edges[:-1].float())
        self.width = nn.Parameter(edges.diff().float())
        self.register_buffer("time", torch.arange(taps, dtype=torch.float32) - taps // 2, persistent=False)
        self.register_buffer("window", torch.hamming_window(taps, periodic=False), persistent=False)

    def edges(self) -> tuple[Tensor, Tensor]:
        """Lower and upper edges in hertz, `(count,)` each."""
        low = LEAST_LOW_HZ + self.low.abs() * self.sample_rate
        high = low + LEAST_BAND_HZ + self.width.abs() * self.sample_rate
        return low, high.clamp(max=self.sample_rate / 2)

    def even(self) -> Tensor:
        """Cosine-phase filters `(count, taps)`; the middle tap is 1."""
        envelope, angle = self._parts()
        return envelope * angle.cos()

    def odd(self) -> Tensor:
        """Sine-phase filters `(count, taps)`: what the even ones are after a quarter of a period."""
        envelope, angle = self._parts()
        return envelope * angle.sin()

    def _parts(self) -> tuple[Tensor, Tensor]:
        """Envelopes and phase angles `(count, taps)`.

        The paper's 2 f2 sinc(2 f2 t) - 2 f1 sinc(2 f1 t), divided by its middle tap 2 (f2 - f1), is the carrier
        cos(pi (f1 + f2) t) times sinc((f2 - f1) t): the difference of sines as a product, with no division by zero.
        """
        low, high = self.edges()
        time = self.time / self.sample_rate
        envelope = torch.sinc((high - low)[:, None] * time) * self.window
        return envelope, torch.pi * (low + high)[:, None] * time
