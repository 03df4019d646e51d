"""Against torchaudio's Kaldi and against librosa."""

import librosa
import numpy as np
import pytest
import torch
import torchaudio

from speakerlab.features.mfcc import Mfcc


def sound(samples: int = 8000) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    glide = torch.sin(2 * torch.pi * (200 + 300 * time) * time)
    return 0.3 * glide + 0.05 * torch.randn(samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("coefficients, num_mels, lifter", [(20, 40, 22.0), (13, 23, 0.0), (30, 30, 22.0)])
def test_it_is_kaldis(coefficients, num_mels, lifter):
    mfcc = Mfcc(coefficients, num_mels, lifter=lifter)
    features, counts = mfcc(sound()[None], torch.tensor([8000]))
    expected = torchaudio.compliance.kaldi.mfcc(
        32768 * sound()[None],
        num_ceps=coefficients,
        num_mel_bins=num_mels,
        cepstral_lifter=lifter,
        use_energy=False,
        sample_frequency=16000,
    )
    assert features.shape == (1, 48, mfcc.dim) and counts.tolist() == [48] and mfcc.dim == coefficients
    torch.testing.assert_close(features[0], expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("coefficients, num_mels", [(20, 64), (40, 40)])
def test_it_is_librosas(coefficients, num_mels):
    features, _ = Mfcc(coefficients, num_mels, mel="librosa", lifter=0.0, low_hz=0.0)(sound()[None])
    # librosa puts a window of 400 samples into the middle of a transform of 512.
    centred = np.pad(sound().numpy(), (56, 56))
    power = librosa.feature.melspectrogram(
        y=centred, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=num_mels
    )
    expected = librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=coefficients).T
    np.testing.assert_allclose(features[0].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize(
    "settings, message",
    [({"coefficients": 41}, "coefficients=41"), ({"mel": "bark"}, "mel=bark"), ({"lifter": -1}, "-1")],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Mfcc(**settings)
