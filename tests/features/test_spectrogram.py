import pytest
import scipy.signal
import torch

from speakerlab.features.spectrogram import Spectrogram


@pytest.mark.parametrize("bins", [512, 200])
@pytest.mark.parametrize("scale", ["magnitude", "power", "log"])
def test_scipys_transform_of_each_frame(bins, scale):
    waveform = 0.1 * torch.randn(1, 48240, generator=torch.Generator().manual_seed(0))
    feature = Spectrogram(bins, scale)
    found, counts = feature(waveform, torch.tensor([48240]))
    assert found.shape == (1, 300, bins) and counts.tolist() == [300] and (feature.dim, feature.channels) == (bins, 1)
    window = scipy.signal.get_window("hamming", 400)
    for frame in (0, 17, 299):
        piece = waveform[0, 160 * frame : 160 * frame + 400].double().numpy() * window
        power = abs(scipy.fft.rfft(piece, 2 * bins)[:bins]) ** 2
        expected = torch.from_numpy({"magnitude": power**0.5, "power": power}.get(scale, power))
        expected = expected.clamp(min=1e-10).log() if scale == "log" else expected
        torch.testing.assert_close(found[0, frame].double(), expected, atol=1e-4, rtol=1e-3)


def test_silence_has_a_finite_gradient():
    for scale in ("magnitude", "power", "log"):
        waveform = torch.zeros(1, 800, requires_grad=True)
        Spectrogram(200, scale)(waveform)[0].sum().backward()
        assert waveform.grad.isfinite().all()


@pytest.mark.parametrize("settings, message", [({"bins": 199}, "bins=199"), ({"scale": "mel"}, "scale=mel")])
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Spectrogram(**settings)
