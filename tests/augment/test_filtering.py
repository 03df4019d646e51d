import numpy as np
import pytest
import scipy.signal
import torch

from speakerlab.augment.filtering import band_pass, convolve, from_gains


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("samples, taps, delay", [(1000, 129, 64), (50, 129, 64), (1000, 7, 0), (1, 1, 0)])
def test_convolution_is_scipys_without_the_delay(samples, taps, delay):
    x, kernel = noise(3, samples), noise(3, taps)
    expected = [
        scipy.signal.fftconvolve(a, b)[delay : delay + samples]
        for a, b in zip(x.double().numpy(), kernel.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(convolve(x, kernel, delay), expected, atol=2e-5)


def test_one_kernel_serves_all_items():
    x, kernel = noise(3, 100), noise(1, 9)
    torch.testing.assert_close(convolve(x, kernel, 4), convolve(x, kernel.expand(3, -1), 4))


@pytest.mark.parametrize("low, high", [(0.02, 0.2), (0.1, 0.11), (0.0, 0.25), (0.1, 0.5)])
def test_band_pass_is_scipys_window_method(low, high):
    taps = 257
    edges = [2 * edge for edge in (low, high) if 0 < edge < 0.5]  # of half the sample rate
    pass_zero = low == 0
    expected = scipy.signal.firwin(taps, edges, pass_zero=pass_zero, scale=False)
    kernel = band_pass(torch.tensor([low]), torch.tensor([high]), taps)[0]
    np.testing.assert_allclose(kernel, expected, atol=1e-6)


def test_the_whole_band_is_the_unit_impulse():
    for kernel in (band_pass(torch.zeros(2), torch.full((2,), 0.5), 129), from_gains(torch.ones(2, 66))):
        impulse = torch.zeros_like(kernel)
        impulse[:, kernel.shape[-1] // 2] = 1
        torch.testing.assert_close(kernel, impulse, atol=1e-7, rtol=0)


def test_frequency_sampling_is_the_naive_inverse_transform():
    gains = torch.rand(2, 33, generator=torch.Generator().manual_seed(0))
    time = np.arange(63) - 31
    for kernel, gain in zip(from_gains(gains), gains.double().numpy(), strict=True):
        both_sides = np.concatenate([gain, gain[-2:0:-1]])  # (64,)
        naive = [np.mean(both_sides * np.cos(2 * np.pi * np.arange(64) * t / 64)) for t in time]
        np.testing.assert_allclose(kernel, naive * (0.5 + 0.5 * np.cos(np.pi * time / 32)), atol=1e-6)
