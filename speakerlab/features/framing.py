"""Short-time frames of a waveform: 25 ms every 10 ms or so, without padding at either end."""

import math

import numpy as np
import torch
from torch import Tensor

FRAME_MS, SHIFT_MS = 25, 10


class Framing:
    """How a waveform is cut into frames.

    Args:
        sample_rate: in hertz; lengths are cut off to whole samples, as Kaldi does.
        shift_ms: from one frame's start to the next.
    """

    def __init__(self, sample_rate: int, shift_ms: int = SHIFT_MS):
        self.length = sample_rate * FRAME_MS // 1000
        self.shift = sample_rate * shift_ms // 1000

    def split(self, waveform: Tensor) -> Tensor:
        """`(batch, samples) -> (batch, frames, length)`, `1 + (samples - length) // shift` frames.

        Raises:
            ValueError: if the audio is shorter than a frame.
        """
        if waveform.shape[-1] < self.length:
            raise ValueError(f"{waveform.shape[-1]} samples are shorter than one frame of {self.length}")
        return waveform.unfold(-1, self.length, self.shift)

    def counts(self, lengths: Tensor | None) -> Tensor | None:
        """Whole frames in so many samples `(batch,)`; None stays None."""
        return None if lengths is None else 1 + (lengths - self.length) // self.shift


def power_spectrum(frames: Tensor, window: Tensor, fft_size: int) -> Tensor:
    """`(batch, frames, length)` and `(length,)` `-> (batch, frames, fft_size // 2 + 1)`."""
    frames = frames * window
    if torch.onnx.is_in_onnx_export():
        return power_by_products(frames, fft_size)
    spectrum = torch.fft.rfft(frames, fft_size)
    return spectrum.real.square() + spectrum.imag.square()


def power_by_products(frames: Tensor, fft_size: int) -> Tensor:
    """The same by a product of matrices in float64, as an exported ONNX graph has it: ONNX Runtime's own transform errs
    more than torch's, which in bins between harmonics is heard, and its time is the same."""
    times, bins = np.arange(frames.shape[-1])[:, None], np.arange(fft_size // 2 + 1)
    angles = times * bins % fft_size * (2 * math.pi / fft_size)  # (length, bins)
    # From numbers, which a traced graph takes as a constant.
    waves = torch.tensor(np.concatenate([np.cos(angles), np.sin(angles)], axis=1), device=frames.device)
    real, imaginary = (frames.double() @ waves).chunk(2, dim=-1)
    return (real.square() + imaginary.square()).to(frames.dtype)
