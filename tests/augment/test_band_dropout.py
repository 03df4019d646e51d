import numpy as np
import pytest
import torch

from speakerlab.augment.band_dropout import BandDropout

RATE = 16000


def test_what_lies_in_a_band_is_gone_and_what_lies_outside_stays():
    augmentation = BandDropout([2, 2], [400, 400])
    time = torch.arange(RATE) / RATE
    inside = slice(RATE // 4, -RATE // 4)
    drawn = {"low": torch.tensor([[800.0, 900.0]]) / RATE, "high": torch.tensor([[1200.0, 1300.0]]) / RATE}
    for hz in (100, 700, 1400, 7900):
        tone = torch.sin(2 * torch.pi * hz * time)[None]
        torch.testing.assert_close(augmentation.apply(tone, drawn)[:, inside], tone[:, inside], atol=0.01, rtol=0)
    for hz in (850, 1000, 1250):  # where bands overlap, too
        tone = torch.sin(2 * torch.pi * hz * time)[None]
        assert 20 * torch.log10(augmentation.apply(tone, drawn)[:, inside].abs().max()) < -40


def test_numbers_widths_and_places_follow_the_arguments():
    augmentation = BandDropout([1, 3], [100, 600], probability=0.6)
    drawn = [augmentation.draw(np.random.default_rng(seed), 10) for seed in range(3000)]
    low, high = (RATE * np.stack([item[name] for item in drawn]) for name in ("low", "high"))
    numbers = (high > low).sum(axis=1)
    assert sorted(set(numbers)) == [0, 1, 2, 3] and abs((numbers > 0).mean() - 0.6) < 0.04
    widths = (high - low)[high > low]
    assert 99 < widths.min() < 110 and 590 < widths.max() < 601 and abs(widths.mean() - 350) < 10
    middles = ((high + low) / 2)[high > low]
    assert middles.min() < 50 and middles.max() > 7950 and abs(middles.mean() - 4000) < 150


def test_spared_items_keep_their_samples():
    augmentation = BandDropout([1, 3], [100, 600])
    neutral = {name: torch.from_numpy(value)[None] for name, value in augmentation.neutral(10).items()}
    x = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(augmentation.apply(x, neutral), x, atol=4e-6, rtol=0)


@pytest.mark.parametrize("argument", [{"bands": [3, 2]}, {"width_hz": [100, 9000]}, {"probability": 2}])
def test_bad_arguments_are_named(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        BandDropout(**({"bands": [1, 2], "width_hz": [100, 200]} | argument))
