"""The page's spectrogram is the one that the network's own features can be told to make."""

import numpy as np
import pytest
import torch

from speakerlab.features.mel_spectrogram import MelSpectrogram
from speakerlab.inference.page.spectrogram import BLOCK, mel_spectrogram


@pytest.mark.parametrize("rate", [8000, 16000])
def test_as_by_torch(rate):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, rate * 45).astype(np.float32)
    waveform[: rate // 2] = 0.0
    found = mel_spectrogram(waveform, rate)
    expected, _ = MelSpectrogram(num_mels=64, sample_rate=rate)(torch.from_numpy(waveform)[None])
    assert len(found) > BLOCK  # more than one block
    np.testing.assert_allclose(found, expected[0].numpy(), atol=2e-3)
    assert abs(found[0, 0] + 100.0) < 1e-4
