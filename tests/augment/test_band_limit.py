import numpy as np
import pytest
import torch

from speakerlab.augment.band_limit import BandLimit

RATE = 16000


def tone(hz):
    return torch.sin(2 * torch.pi * hz * torch.arange(RATE) / RATE)[None]


def level_db(hz, low, high, augmentation):
    drawn = {"low": torch.tensor([low / RATE]), "high": torch.tensor([high / RATE])}
    inside = slice(RATE // 4, -RATE // 4)  # without the onset
    filtered = augmentation.apply(tone(hz), drawn)[0, inside]
    return float(20 * torch.log10(filtered.square().mean().sqrt() / tone(hz)[0, inside].square().mean().sqrt()))


def test_tones_inside_pass_unshifted_and_those_outside_are_gone():
    augmentation = BandLimit([300, 300], [3000, 3000])
    for hz in (400, 1000, 2900):
        assert abs(level_db(hz, 300, 3000, augmentation)) < 0.1
    for hz in (50, 200, 3100, 7000):
        assert level_db(hz, 300, 3000, augmentation) < -40
    for edge in (300, 3000):
        assert level_db(edge, 300, 3000, augmentation) == pytest.approx(-6, abs=0.1)
    drawn = {"low": torch.tensor([300 / RATE]), "high": torch.tensor([3000 / RATE])}
    inside = slice(RATE // 4, -RATE // 4)
    torch.testing.assert_close(
        augmentation.apply(tone(1000), drawn)[:, inside], tone(1000)[:, inside], atol=0.01, rtol=0
    )


def test_edges_are_uniform_and_spared_items_keep_their_samples():
    augmentation = BandLimit([0, 300], [2500, 9000], probability=0.5)
    drawn = [augmentation.draw(np.random.default_rng(seed), 10) for seed in range(2000)]
    low, high = (RATE * np.array([item[name] for item in drawn]) for name in ("low", "high"))
    applied = low > 0
    assert 900 < applied.sum() < 1100
    assert 140 < low[applied].mean() < 160 and low.max() <= 300
    assert 2500 <= high.min() < 2520 and high.max() == RATE / 2  # 9000 Hz is more than there is
    x = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    neutral = {name: torch.full((2,), float(value)) for name, value in augmentation.neutral(3000).items()}
    torch.testing.assert_close(augmentation.apply(x, neutral), x, atol=4e-6, rtol=0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"low_hz=\[0, 3000\] must lie below high_hz=\[2500, 5000\]"):
        BandLimit([0, 3000], [2500, 5000])
    with pytest.raises(ValueError, match=r"low_hz=\[0, 9000\]"):
        BandLimit([0, 9000], [9500, 9600])
