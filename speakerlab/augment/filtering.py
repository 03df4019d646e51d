"""Finite impulse responses, another one for each item of a batch."""

import torch
from scipy.fft import next_fast_len
from torch import Tensor


def convolve(x: Tensor, kernel: Tensor, delay: int) -> Tensor:
    """Linear convolution of each item with its own kernel, as long as the input and `delay` samples earlier.

    Args:
        x: `(batch, samples)` float32.
        kernel: `(batch, taps)` float32, or `(1, taps)` for all items.
        delay: tap that is time 0; what rings on beyond the input's end is cut.

    Returns:
        `(batch, samples)` float32.
    """
    samples = x.shape[-1]
    size = next_fast_len(samples + kernel.shape[-1] - 1, real=True)  # long enough not to wrap around
    spectrum = torch.fft.rfft(x, size) * torch.fft.rfft(kernel, size)  # (batch, size // 2 + 1)
    return torch.fft.irfft(spectrum, size)[:, delay : delay + samples]


def band_pass(low: Tensor, high: Tensor, taps: int) -> Tensor:
    """Linear-phase band-pass filters by the window method (Hamming); the middle tap is time 0.

    Edges are where the gain is a half; the transition is about 3.3 / taps wide. From 0 to 0.5 it is the unit impulse.

    Args:
        low, high: `(batch,)` edges in cycles a sample, 0 to 0.5.
        taps: odd.

    Returns:
        `(batch, taps)` float32.
    """
    time = torch.arange(taps, dtype=torch.float32, device=low.device) - taps // 2
    low, high = low.float()[:, None], high.float()[:, None]
    ideal = 2.0 * high * torch.sinc(2.0 * high * time) - 2.0 * low * torch.sinc(2.0 * low * time)
    return ideal * torch.hamming_window(taps, periodic=False, device=low.device)


def from_gains(gains: Tensor) -> Tensor:
    """Linear-phase filters by frequency sampling, smoothed by a Hann window; the middle tap is time 0.

    Args:
        gains: `(batch, bins)` float32 from frequency 0 to half the sample rate.

    Returns:
        `(batch, 2 * bins - 3)` float32: the unit impulse for gains of 1.
    """
    size = 2 * (gains.shape[-1] - 1)
    response = torch.fft.irfft(gains, size).roll(size // 2, dims=-1)[:, 1:]  # (batch, size - 1), symmetric
    return response * torch.hann_window(size + 1, periodic=False, device=gains.device)[1:-1]
