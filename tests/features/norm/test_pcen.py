import librosa
import numpy as np
import pytest
import torch

from speakerlab.features.norm.pcen import Pcen


@pytest.mark.parametrize("seconds", [0.1, 0.4])
@pytest.mark.parametrize("scale", [1.0, 1e8])
def test_it_is_librosas(seconds, scale):
    energy = scale * torch.rand(2, 60, 8, generator=torch.Generator().manual_seed(0)) + 1e-3
    found = Pcen(seconds=seconds)(energy.log())
    weight = Pcen(seconds=seconds).weight
    start = (1 - weight) * energy[:, :1].double().numpy()  # librosa would start at 1, whatever the energy's unit
    expected = librosa.pcen(
        energy.double().numpy(), sr=16000, hop_length=160, time_constant=seconds, axis=1, zi=start
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("seconds, frames", [(0.4, 500), (0.4, 1), (0.05, 30), (3.0, 800)])
def test_smoothing_in_exported_graphs(seconds, frames, monkeypatch):
    """A naive loop, over sound that falls silent."""
    energy = 1e10 * torch.rand(2, frames, 3, generator=torch.Generator().manual_seed(0))
    energy[:, frames // 2 :] = 1e-7
    norm = Pcen(seconds=seconds)
    smooth = [energy[:, 0].double()]
    for frame in range(1, frames):
        smooth.append((1 - norm.weight) * smooth[-1] + norm.weight * energy[:, frame].double())
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    np.testing.assert_allclose(norm._smooth(energy), torch.stack(smooth, dim=1), rtol=1e-5)


def test_seconds_are_seconds_whatever_the_frames():
    assert Pcen(seconds=0.6, shift_ms=15).weight == Pcen(seconds=0.4, shift_ms=10).weight
    assert Pcen(seconds=0.4, shift_ms=15).weight > Pcen(seconds=0.4).weight


@pytest.mark.parametrize("settings", [{"gain": 2.0}, {"bias": 0.0}, {"power": -1.0}, {"seconds": 0.0}, {"eps": 0.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Pcen(**settings)
