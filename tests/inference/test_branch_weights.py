"""Conditions measured back, and weights that are the fusion's own."""

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.data.audio import read_audio
from speakerlab.features.raw import Raw
from speakerlab.fusion.fusion import Fusion
from speakerlab.inference.branch_weights import make_conditions, pink_noise, recorded_noise, weigh
from speakerlab.network import FusionNetwork, SpeakerNetwork

RATE = 16000


class Bands(nn.Module):
    """Log power of a waveform in some bands, as an embedding."""

    def __init__(self, dim: int):
        super().__init__()
        self.embed_dim = dim

    def forward(self, features, lengths=None):
        power = torch.fft.rfft(features.squeeze(-1)).abs().square()
        edges = np.linspace(0, power.shape[1], self.embed_dim + 1).astype(int)
        bands = [power[:, low:high].mean(dim=1) for low, high in zip(edges[:-1], edges[1:], strict=True)]
        return torch.stack(bands, dim=1).clamp(min=1e-9).log()


def network(kind: str = "gated") -> FusionNetwork:
    torch.manual_seed(0)
    branches = {"few": SpeakerNetwork(Raw(), Bands(4)), "many": SpeakerNetwork(Raw(), Bands(9))}
    made = FusionNetwork(branches, Fusion([4, 9], kind, embed_dim=8, heads=2)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def voice(seed: int = 0) -> np.ndarray:
    time = np.arange(RATE) / RATE
    tone = sum(np.sin(2 * np.pi * (130 + 20 * seed) * k * time) / k for k in range(1, 30))
    return (0.05 * tone).astype(np.float32)


def test_noise_is_added_at_its_ratio_and_is_the_same_at_each():
    conditions = make_conditions([20.0, 0.0, -5.0], pink_noise, RATE)
    assert list(conditions) == ["clean", "noise, 20 dB", "noise, 0 dB", "noise, -5 dB", "telephone"]
    x, added = voice(), {}
    assert conditions["clean"](x, 3) is x
    for ratio in (20.0, 0.0, -5.0):
        noise = conditions[f"noise, {ratio:g} dB"](x, 3) - x
        added[ratio] = noise / np.linalg.norm(noise)
        assert 20 * np.log10(np.linalg.norm(x) / np.linalg.norm(noise)) == pytest.approx(ratio, abs=0.01)
    np.testing.assert_allclose(added[20.0], added[-5.0], atol=1e-5)
    other = conditions["noise, 0 dB"](x, 4) - x
    assert abs(added[0.0] @ other) / np.linalg.norm(other) < 0.1  # another utterance, another noise


def test_pink_noise_has_as_much_power_in_each_octave():
    power = np.abs(np.fft.rfft(pink_noise(np.random.default_rng(0), 2**17))) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].sum() for k in range(8, 16)]
    assert max(octaves) / min(octaves) < 1.3


def test_the_telephone_has_its_band():
    line = make_conditions([0.0], pink_noise, RATE)["telephone"]
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    power = np.abs(np.fft.rfft(line(noise, 0))) ** 2
    assert power[:150].mean() < 0.02 * power[500:3000].mean() and power[4200:].mean() < 0.02 * power[500:3000].mean()
    assert {tuple(line(noise, number)[:50]) for number in range(8)} == {
        tuple(line(noise, n)[:50]) for n in (0, 1, 2, 3)
    }
    assert "telephone" not in make_conditions([0.0], pink_noise, 22050)  # no multiple of its 8000 Hz


def test_noise_from_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(5000) * 0.3), RATE)
    clips = [(str(tmp_path / "a.wav"), 5000, RATE)]
    noise = recorded_noise(AdditiveNoise("a", clips, read_audio, (0.0, 0.0)))
    found = noise(np.random.default_rng(0), RATE)
    assert found.shape == (RATE,)
    peak = np.abs(np.fft.rfft(found)).argmax()
    assert peak == pytest.approx(0.3 / (2 * np.pi) * RATE, abs=5)


@pytest.mark.parametrize("kind", ["softmax", "gated", "cross_attention", "mean"])
def test_the_weights_are_the_fusions(kind):
    made, conditions = network(kind), make_conditions([0.0], pink_noise, RATE)
    voices = [voice(seed) for seed in range(3)]
    found = weigh(made, iter(voices), conditions)
    assert list(found) == ["clean", "noise, 0 dB", "telephone"]
    for name, one in found.items():
        assert one.weights.shape == (3, 2) and one.cosines.shape == (3, 3)
        np.testing.assert_allclose(one.weights.sum(axis=1), 1.0, rtol=1e-5)
        audio = torch.stack([torch.from_numpy(conditions[name](x, number)) for number, x in enumerate(voices)])
        with torch.inference_mode():
            weights = made.fusion.weights([branch(audio) for branch in made.branches.values()])
            fused, clean = made(audio), made(torch.from_numpy(np.stack(voices)))
        if kind == "gated":
            np.testing.assert_allclose(one.by_dimension, weights.mean(dim=0).numpy(), atol=1e-5)
            weights = weights.mean(dim=2)
        np.testing.assert_allclose(one.weights, weights.numpy(), atol=1e-5)
        centred = torch.cosine_similarity(fused - clean.mean(dim=0), clean - clean.mean(dim=0))
        np.testing.assert_allclose(one.cosines[:, 2], centred.numpy(), atol=1e-3)
        assert (one.by_dimension is None) == (kind != "gated")
    np.testing.assert_allclose(found["clean"].cosines, 1.0, atol=1e-5)
    assert found["noise, 0 dB"].cosines[:, :2].max() < 0.99


def test_one_utterance_is_compared_as_it_is():
    made, conditions = network(), make_conditions([0.0], pink_noise, RATE)
    found = weigh(made, [voice()], conditions)
    np.testing.assert_allclose(found["clean"].cosines, 1.0, atol=1e-5)
    few, noisy = made.branches["few"], torch.from_numpy(conditions["noise, 0 dB"](voice(), 0))
    expected = torch.cosine_similarity(few(noisy[None]), few(torch.from_numpy(voice())[None]))
    np.testing.assert_allclose(found["noise, 0 dB"].cosines[0, 0], expected.item(), atol=1e-5)


def test_what_weighs_no_branches_is_refused():
    with pytest.raises(InputError, match="no weights to draw: kind=concatenate weighs no branches"):
        weigh(network("concatenate"), [voice()], make_conditions([0.0], pink_noise, RATE))
    with pytest.raises(InputError, match="no branches to weigh: Bands is a network of its own"):
        weigh(SpeakerNetwork(Raw(), Bands(4)), [voice()], {})
