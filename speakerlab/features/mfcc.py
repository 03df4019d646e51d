"""Mel-frequency cepstral coefficients, of Kaldi's or of librosa's log-mel spectrum.

Davis and Mermelstein: "Comparison of Parametric Representations for Monosyllabic Word Recognition in Continuously
Spoken Sentences", IEEE Transactions on Acoustics, Speech and Signal Processing, 1980.
"""

import math

import torch
from torch import Tensor, nn

from speakerlab.features.fbank import Fbank
from speakerlab.features.mel_spectrogram import MelSpectrogram


def cosine_transform(inputs: int, outputs: int) -> Tensor:
    """Orthonormal DCT-II, `(inputs, outputs)`."""
    place = torch.arange(inputs, dtype=torch.float64)[:, None] + 0.5
    matrix = torch.cos(math.pi / inputs * place * torch.arange(outputs, dtype=torch.float64))
    matrix *= math.sqrt(2.0 / inputs)
    matrix[:, 0] *= math.sqrt(0.5)
    return matrix.float()


def lifter_weights(coefficients: int, lifter: float) -> Tensor:
    """`(coefficients,)` by which Kaldi and HTK raise the higher coefficients; ones for `lifter` 0."""
    if lifter == 0:
        return torch.ones(coefficients)
    return 1.0 + 0.5 * lifter * torch.sin(math.pi * torch.arange(coefficients) / lifter)


class Mfcc(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, coefficients), frame counts`.

    Args:
        coefficients: kept, the zeroth among them; this is `dim`.
        num_mels: bands below the cosine transform.
        mel: "kaldi" (pre-emphasis, natural logarithm; see `Fbank`) or "librosa" (dB; see `MelSpectrogram`).
        lifter: Kaldi's 22, or 0 for none.
        sample_rate: in hertz.
        low_hz: lower edge of the first band.

    Raises:
        ValueError: for more coefficients than bands, or an unknown kind of mel spectrum.
    """

    def __init__(
        self,
        coefficients: int = 20,
        num_mels: int = 40,
        mel: str = "kaldi",
        lifter: float = 22.0,
        sample_rate: int = 16000,
        low_hz: float = 20.0,
    ):
        super().__init__()
        if not 1 <= coefficients <= num_mels:
            raise ValueError(f"coefficients={coefficients} must lie in 1 to num_mels={num_mels}")
        if mel not in ("kaldi", "librosa"):
            raise ValueError(f"mel={mel} must be kaldi or librosa")
        if not 0 <= lifter < math.inf:
            raise ValueError(f"lifter={lifter} must be 0 or more")
        kind = Fbank if mel == "kaldi" else MelSpectrogram
        self.log_mel = kind(num_mels, sample_rate, low_hz=low_hz)
        self.dim = coefficients
        self.channels = 1
        transform = cosine_transform(num_mels, coefficients) * lifter_weights(coefficients, lifter)
        self.register_buffer("transform", transform, persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        log_mel, counts = self.log_mel(waveform, lengths)
        return log_mel @ self.transform, counts
