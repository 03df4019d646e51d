"""Short-time frames of a waveform: 25 ms every 10 ms or so, within it or centred at its samples."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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


class CentredFraming:
    """How a waveform is cut into frames that are centred every 10 ms from its first sample on, as `torch.stft` does.

    Args:
        sample_rate: in hertz.
        fft_size: samples of the transform, of which the window of 25 ms takes the middle; None is as many as that.
        reflect: beyond its ends an item goes on as its mirror image; otherwise there is silence.

    Raises:
        ValueError: if the transform is shorter than the window.
    """

    def __init__(self, sample_rate: int, fft_size: int | None = None, reflect: bool = False):
        self.length = sample_rate * FRAME_MS // 1000
        self.shift = sample_rate * SHIFT_MS // 1000
        self.fft_size = self.length if fft_size is None else fft_size
        if self.fft_size < self.length:
            raise ValueError(f"fft_size={fft_size} must be at least a frame, {self.length} samples")
        self.reflect = reflect
        self.side = self.fft_size // 2

    def hamming(self) -> Tensor:
        """Hamming's window in the middle of the transform, `(fft_size,)`."""
        before = (self.fft_size - self.length) // 2
        return F.pad(torch.hamming_window(self.length), (before, self.fft_size - self.length - before))

    def split(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """`(batch, samples)`, sample counts or None `-> (batch, frames, fft_size)`, `1 + samples // shift` frames.

        Raises:
            ValueError: if the audio is shorter than a window.
        """
        if waveform.shape[-1] < self.length:
            raise ValueError(f"{waveform.shape[-1]} samples are shorter than one frame of {self.length}")
        extended = self._extended(waveform, lengths)
        return extended.unfold(-1, self.fft_size, self.shift)

    def _extended(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """Each item with what it has beyond its ends, at least: `(batch, side + samples + side)`."""
        if lengths is None:
            return F.pad(waveform[:, None], (self.side, self.side), "reflect" if self.reflect else "constant")[:, 0]
        if not self.reflect:
            beyond = torch.arange(waveform.shape[-1], device=waveform.device) >= lengths[:, None]
            return F.pad(waveform.masked_fill(beyond, 0.0), (self.side, self.side))
        last = lengths[:, None] - 1
        places = torch.arange(-self.side, waveform.shape[-1] + self.side, device=waveform.device).abs()
        places = (last - (last - places).abs()).clamp(min=0)  # (batch, side + samples + side)
        return waveform.gather(-1, places)

    def counts(self, lengths: Tensor | None) -> Tensor | None:
        """Frames of so many samples `(batch,)`; None stays None."""
        return None if lengths is None else 1 + (lengths + 2 * self.side - self.fft_size) // self.shift


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
