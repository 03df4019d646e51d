"""The mean MFCC against a loop over frames in NumPy and SciPy."""

import numpy as np
import pytest
import scipy.fft
import torch

from speakerlab.data.utterances import pad_utterances
from speakerlab.inference.baselines import MeanMfcc


def utterance(samples: int, level: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (level * np.convolve(noise, [1.0, 0.9, 0.5], mode="same")).astype(np.float32)


def reference(waveform: np.ndarray, rate: int, size: int) -> np.ndarray:
    """One utterance, frame by frame in float64: 40 bands, decibels, cosine transform, mean of the first 20."""
    hop, length = round(0.010 * rate), round(0.025 * rate)
    window = np.zeros(size)
    first = (size - length) // 2
    window[first : first + length] = np.hanning(length + 1)[:-1]
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), 42) / 2595) - 1)  # HTK's mel scale
    bins = np.fft.rfftfreq(size, 1 / rate)
    filters = np.stack([np.interp(bins, edges[i : i + 3], [0.0, 1.0, 0.0]) for i in range(40)])
    rows = []
    for start in range(0, len(waveform) - size + 1, hop):
        power = np.abs(np.fft.rfft(waveform[start : start + size] * window)) ** 2
        decibels = 10 * np.log10(np.maximum(filters @ power, 1e-10))
        rows.append(scipy.fft.dct(decibels, norm="ortho")[:20])
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("rate, size", [(16000, 512), (24000, 1024), (44100, 2048)])
def test_one_utterance(rate, size):
    waveform = utterance(rate // 2, 0.1)
    found = MeanMfcc(rate)(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    assert found.shape == (1, MeanMfcc.embed_dim)
    np.testing.assert_allclose(found[0].numpy(), reference(waveform, rate, size), atol=0.01)


def test_batch_mates_change_nothing():
    """A quiet utterance beside a loud one: no floor relative to the loudest of the batch."""
    shapes = [(9000, 0.3), (5000, 1e-6), (1600, 1e-3), (8999, 0.01)]
    waveforms = [utterance(samples, level, seed) for seed, (samples, level) in enumerate(shapes)]
    batch = pad_utterances(list(enumerate(waveforms)))
    network = MeanMfcc(16000)
    together = network(batch["waveform"], batch["length"])
    for row, waveform in zip(together, waveforms, strict=True):
        alone = network(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))[0]
        torch.testing.assert_close(row, alone, atol=1e-3, rtol=1e-4)
