"""Averages over crops, against scores of all pairs of crops."""

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab.inference import crops
from speakerlab.inference.crops import CroppedNetwork

CROP, DIM = 40, 3


class Sums(nn.Module):
    """Embeddings that depend on each sample's place, and on the length."""

    embed_dim = DIM

    def forward(self, waveform, lengths):
        place = torch.arange(waveform.shape[1])
        valid = place < lengths[:, None]
        waves = torch.stack([torch.cos(0.1 * (k + 1) * place) for k in range(DIM)])
        return (waveform * valid) @ waves.T + 0.1 * lengths[:, None]


def waves(lengths: list[int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(length).astype(np.float32) for length in lengths]


def padded(waveforms: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(wave) for wave in waveforms])
    batch = torch.zeros(len(waveforms), int(lengths.max()))
    for row, wave in zip(batch, waveforms, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return batch, lengths


def unit(wave: np.ndarray) -> np.ndarray:
    row = Sums()(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0].double().numpy()
    return row / np.linalg.norm(row)


def units(wave: np.ndarray, count: int) -> list[np.ndarray]:
    """Of the crops, cut one at a time: evenly spaced from the first sample to the last, short audio repeated."""
    if len(wave) < CROP:
        wave = np.concatenate([wave] * (CROP // len(wave) + 1))[:CROP]
    starts = np.linspace(0, len(wave) - CROP, num=count)
    return [unit(wave[int(start + 1e-9) : int(start + 1e-9) + CROP]) for start in starts]


@pytest.mark.parametrize("count", [1, 5, 10])
@pytest.mark.parametrize("whole", [False, True])
def test_products_are_mean_cosines_of_all_pairs_of_crops(count, whole):
    waveforms = waves([200, 41, 40, 13, 97])
    with torch.inference_mode():
        rows = CroppedNetwork(Sums(), count, CROP, 16000, whole)(*padded(waveforms)).double().numpy()
    assert rows.shape == (5, 2 * DIM if whole else DIM)
    for i, first in enumerate(waveforms):
        for j, second in enumerate(waveforms):
            cosines = [a @ b for a in units(first, count) for b in units(second, count)]
            expected = sum(cosines) / len(cosines)
            if whole:
                expected = (expected + unit(first) @ unit(second)) / 2
            assert rows[i] @ rows[j] == pytest.approx(expected, abs=2e-5)


def test_an_utterance_does_not_depend_on_its_batch_mates():
    waveforms = waves([200, 30, 97])
    network = CroppedNetwork(Sums(), 4, CROP, 16000, True)
    together = network(*padded(waveforms))
    for row, wave in zip(together, waveforms, strict=True):
        torch.testing.assert_close(network(*padded([wave]))[0], row, atol=1e-5, rtol=1e-5)


def test_few_crops_at_once(monkeypatch):
    waveforms = padded(waves([200, 30, 97, 60]))
    expected = CroppedNetwork(Sums(), 4, CROP, 16000, False)(*waveforms)
    seen = []
    monkeypatch.setattr(crops, "SECONDS_AT_ONCE", 3 * CROP / 16000)
    network = CroppedNetwork(Sums(), 4, CROP, 16000, False)
    network.network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    torch.testing.assert_close(network(*waveforms), expected)
    assert max(seen) == 3 and sum(seen) == 16


def test_schemes_have_states_of_their_own():
    states = [
        CroppedNetwork(Sums(), count, samples, 16000, whole).state_dict()["scheme"].tolist()
        for count, samples, whole in [(1, 40, False), (2, 40, False), (1, 41, False), (1, 40, True)]
    ]
    assert len({tuple(state) for state in states}) == 4
