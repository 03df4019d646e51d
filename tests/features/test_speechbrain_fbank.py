"""Against loops over frames and filters; SpeechBrain's own is compared in tests/inference/peers."""

import math

import numpy as np
import pytest
import torch

from speakerlab.features.speechbrain_fbank import SpeechbrainFbank


def reference(waveform: np.ndarray, num_mels: int) -> np.ndarray:
    """`(samples,) -> (frames, num_mels)` at 16 kHz, in float64."""
    padded = np.pad(waveform.astype(float), 200)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (top * number / (num_mels + 1) / 2595) - 1) for number in range(num_mels + 2)]
    rows = []
    for start in range(0, len(padded) - 399, 160):
        power = np.abs(np.fft.rfft(padded[start : start + 400] * window)) ** 2
        bands = []
        for below, center in zip(edges, edges[1:-1], strict=False):
            weights = [max(0.0, 1 - abs(40 * number - center) / (center - below)) for number in range(201)]
            bands.append(10 * math.log10(max(float(power @ weights), 1e-10)))
        rows.append(bands)
    return np.maximum(rows, np.max(rows) - 80)


def test_each_item_is_that_of_the_loops():
    lengths = [3000, 1777, 400]
    batch = 0.1 * torch.randn(3, 3000, generator=torch.Generator().manual_seed(0))
    batch[0, :1500] *= 1e-6  # more than 80 dB below the rest
    feature = SpeechbrainFbank(40)
    found, counts = feature(batch, torch.tensor(lengths))
    for row, item, count, length in zip(batch, found, counts.tolist(), lengths, strict=True):
        expected = reference(row[:length].numpy(), 40)
        assert count == len(expected)
        np.testing.assert_allclose(item[:count], expected, atol=1e-3)
        np.testing.assert_allclose(feature(row[None, :length])[0][0], expected, atol=1e-3)
    assert (feature.dim, feature.channels) == (40, 1)


def test_the_loudest_value_is_an_items_own():
    """What the batch holds beyond an item does not lift its floor."""
    feature, quiet = SpeechbrainFbank(40), torch.full((1, 3200), 1.0)
    quiet[:, :1600] = 1e-4 * torch.randn(1600, generator=torch.Generator().manual_seed(0))
    found, counts = feature(quiet, torch.tensor([1600]))
    torch.testing.assert_close(found[:, : counts[0]], feature(quiet[:, :1600])[0])


def test_silence_is_finite():
    assert (SpeechbrainFbank()(torch.zeros(1, 800))[0] == -100.0).all()


@pytest.mark.parametrize("settings", [{"num_mels": 0}, {"num_mels": 500}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="num_mels"):
        SpeechbrainFbank(**settings)
