"""Against librosa (Burg) and SciPy's Toeplitz solver (autocorrelation)."""

import librosa
import numpy as np
import pytest
import scipy.linalg
import torch

from speakerlab.features.lpc import Lpc, autocorrelate, burg


def voice(samples: int = 4000) -> torch.Tensor:
    """Noise through two resonances."""
    excitation = np.random.default_rng(0).standard_normal(samples)
    poles = np.poly([0.95 * np.exp(2j * np.pi * f / 16000 * s) for f in (700, 1800) for s in (1, -1)]).real
    return torch.from_numpy(0.01 * scipy.signal.lfilter([1.0], poles, excitation)).float()


def frames(waveform: torch.Tensor) -> np.ndarray:
    return np.stack([waveform[start : start + 400] for start in range(0, len(waveform) - 399, 160)]).astype(np.float64)


@pytest.mark.parametrize("order", [1, 12, 20, 40])
def test_burg_is_librosas(order):
    found, counts = Lpc(order, preemphasis=0.0)(voice()[None], torch.tensor([4000]))
    expected = librosa.lpc(frames(voice()), order=order, axis=-1)[:, 1:]
    assert found.shape == (1, 23, order) and counts.tolist() == [23]
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("order", [1, 12, 20])
def test_autocorrelation_solves_the_normal_equations(order):
    found, _ = Lpc(order, "autocorrelation", preemphasis=0.0)(voice()[None])
    for row, frame in zip(found[0].numpy(), frames(voice()) * np.hamming(400), strict=True):
        lags = np.array([frame[: 400 - lag] @ frame[lag:] for lag in range(order + 1)])
        np.testing.assert_allclose(row, -scipy.linalg.solve_toeplitz(lags[:-1], lags[1:]), atol=1e-4)


def test_burg_finds_the_resonances():
    expected = np.poly([0.95 * np.exp(2j * np.pi * f / 16000 * s) for f in (700, 1800) for s in (1, -1)]).real[1:]
    np.testing.assert_allclose(burg(voice(16000).double(), 4), expected, atol=0.05)


@pytest.mark.parametrize("method", ["burg", "autocorrelation"])
def test_silence_and_constants_stay_finite(method):
    for level in (0.0, 0.5):
        waveform = torch.full((1, 800), level, requires_grad=True)
        found, _ = Lpc(20, method)(waveform)
        found.sum().backward()
        assert found.isfinite().all() and waveform.grad.isfinite().all()
    assert not Lpc(20, method)(torch.zeros(1, 800))[0].any()


def test_preemphasis():
    emphasised = torch.from_numpy(np.append(voice()[0], voice()[1:] - 0.97 * voice()[:-1]))
    torch.testing.assert_close(Lpc(8)(voice()[None])[0], Lpc(8, preemphasis=0.0)(emphasised[None])[0])


@pytest.mark.parametrize("settings", [{"order": 0}, {"order": 399}, {"method": "prony"}, {"preemphasis": 1.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Lpc(**settings)


def test_the_autocorrelation_of_exported_graphs(monkeypatch):
    windows = torch.from_numpy(frames(voice()))
    expected = autocorrelate(windows, 20)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    np.testing.assert_allclose(autocorrelate(windows, 20), expected, rtol=1e-9, atol=1e-12)
