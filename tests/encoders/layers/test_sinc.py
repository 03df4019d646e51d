import numpy as np
import pytest
import torch

from speakerlab.encoders.layers.sinc import SincBands

RATE = 16000


@torch.no_grad()
def test_even_filters_are_the_papers():
    """Equation 4 and on: a difference of two low-pass filters, windowed, divided by 2 (f2 - f1)."""
    bands = SincBands(80, 251, RATE)
    low, high = (edge.double().numpy() for edge in bands.edges())
    n = np.arange(-125, 126)
    for i, found in enumerate(bands.even().double().numpy()):
        f1, f2 = low[i] / RATE, high[i] / RATE
        expected = (2 * f2 * np.sinc(2 * f2 * n) - 2 * f1 * np.sinc(2 * f1 * n)) * np.hamming(251) / (2 * (f2 - f1))
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert found[125] == 1.0


def test_edges_are_mel_spaced_at_first():
    low, high = (edge.detach().double().numpy() for edge in SincBands(80, 251, RATE).edges())
    assert low[0] == pytest.approx(30 + 50, abs=1e-3)
    assert high[-1] == pytest.approx(RATE / 2, abs=1e-2)  # its 7,900 and twice the minimum of 50
    mels = 2595 * np.log10(1 + (low - 50) / 700)
    np.testing.assert_allclose(np.diff(mels), np.diff(mels).mean(), rtol=1e-3)
    np.testing.assert_allclose(high[:-1] - low[:-1] - 50, np.diff(low), atol=1e-2)


@torch.no_grad()
def test_odd_filters_are_a_quarter_period_behind():
    """Together an analytic filter: nothing at negative frequencies, and naive sums of sines agree."""
    bands = SincBands(20, 251, RATE)
    even, odd = bands.even().double().numpy(), bands.odd().double().numpy()
    spectrum = np.abs(np.fft.fft(even + 1j * odd, 4096))
    centre = np.array([edge.numpy() for edge in bands.edges()]).mean(axis=0)
    wide = centre > 500  # narrow bands near 0 Hz reach beyond it, through the window's width
    peak = np.fft.fftfreq(4096, 1 / RATE)[spectrum.argmax(axis=1)]
    low, high = (edge.numpy() for edge in bands.edges())
    assert ((low - 60 <= peak) & (peak <= high + 60)).all()
    assert (spectrum[wide, 2200:4000].max(axis=1) < 0.02 * spectrum[wide].max(axis=1)).all()
    np.testing.assert_allclose(odd, -odd[:, ::-1], atol=1e-6)


def test_edges_stay_legal_and_learn():
    bands = SincBands(4, 31, RATE)
    with torch.no_grad():
        bands.low.copy_(torch.tensor([-0.1, 0.0, 0.3, 0.45]))
        bands.width.copy_(torch.tensor([-0.2, 0.0, 0.5, 0.0]))
    low, high = bands.edges()
    torch.testing.assert_close(low, torch.tensor([1650.0, 50.0, 4850.0, 7250.0]))
    torch.testing.assert_close(high, torch.tensor([4900.0, 100.0, 8000.0, 7300.0]))
    (bands.even().square().sum() + bands.odd().sum()).backward()
    assert bands.low.grad.isfinite().all() and bands.width.grad.isfinite().all()
    assert bands.low.grad.abs().max() > 0


@pytest.mark.parametrize(
    "count, taps, rate, message",
    [(0, 251, RATE, "filters=0"), (8, 250, RATE, "taps=250"), (8, 1, RATE, "taps=1"), (8, 251, 100, "sample_rate=100")],
)
def test_what_is_no_bank_is_refused(count, taps, rate, message):
    with pytest.raises(ValueError, match=message):
        SincBands(count, taps, rate)
