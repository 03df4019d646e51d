import librosa
import numpy as np
import pytest
import torch

from speakerlab.features.mel_spectrogram import MelSpectrogram


@pytest.mark.parametrize("num_mels, low_hz, high_hz, fft_size", [(64, 0.0, None, 512), (40, 50.0, 7000.0, 1024)])
def test_it_is_librosas(num_mels, low_hz, high_hz, fft_size):
    waveform = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    feature = MelSpectrogram(num_mels, low_hz=low_hz, high_hz=high_hz, fft_size=fft_size)
    found, counts = feature(waveform, torch.tensor([8000, 7999]))
    side = (fft_size - 400) // 2  # librosa puts the window into the middle of the transform
    for row, item in zip(found, waveform.numpy(), strict=True):
        power = librosa.feature.melspectrogram(
            y=np.pad(item, side), n_fft=fft_size, win_length=400, hop_length=160, center=False, sr=16000,
            n_mels=num_mels, fmin=low_hz, fmax=high_hz,
        )  # fmt: skip
        np.testing.assert_allclose(row.T, librosa.power_to_db(power, top_db=None), atol=1e-3)
    assert counts.tolist() == [48, 48] and (feature.dim, feature.channels) == (num_mels, 1)


def test_silence_is_finite():
    assert (MelSpectrogram()(torch.zeros(1, 800))[0] == -100.0).all()


@pytest.mark.parametrize("settings", [{"low_hz": 9000.0}, {"high_hz": 9000.0}, {"num_mels": 0}, {"fft_size": 256}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MelSpectrogram(**settings)
