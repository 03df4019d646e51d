import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from speakerlab.augment.babble import Babble
from speakerlab.augment.choice import Choice
from speakerlab.augment.gain import Gain
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.augment.reverb import Reverb

CLIPS = [("a", 9000, 16000), ("b", 8000, 16000), ("c", 7000, 16000)]


def read_noise(path, first, count):
    return np.random.default_rng(len(path) + first).standard_normal(count).astype(np.float32)


def reading():
    noise = AdditiveNoise("noise", CLIPS, read_noise, [0, 0])
    babble = Babble("speech", CLIPS, read_noise, [2, 3], [20, 20])
    return {"noise": noise, "babble": babble, "reverb": Reverb("rooms", CLIPS, read_noise, seconds=0.1)}


def test_at_most_one_applies_as_often_as_the_weights_say():
    choice = Choice({"a": Gain([1, 1]), "b": Gain([2, 2]), "off": None, "c": Gain([3, 3])}, {"b": 3, "off": 9}, 0.5)
    factor = [choice.draw(np.random.default_rng(seed), 10)["a"]["factor"] for seed in range(4000)]
    share = np.histogram(20 * np.log10(factor), bins=[-0.5, 0.5, 1.5, 2.5, 3.5])[0] / 4000
    np.testing.assert_allclose(share, [0.5, 0.1, 0.3, 0.1], atol=0.03)


def test_additions_share_what_is_drawn_and_each_item_gets_its_own():
    choice = Choice(reading(), probability=0.8)
    items = [choice.draw(np.random.default_rng(seed), 4000) for seed in range(60)]
    assert items[0].keys() == {"noise", "reverb"}  # babble's are noise's
    drawn = default_collate(items)
    x = torch.randn(60, 4000, generator=torch.Generator().manual_seed(0))
    y = choice.apply(x, drawn)
    impulse = (drawn["reverb"]["response"] != 0).sum(dim=1) == 1
    by_snr = {snr: drawn["noise"]["snr_db"] == snr for snr in (0.0, 20.0)}
    assert not (~impulse & (by_snr[0.0] | by_snr[20.0])).any()
    for snr, chosen in by_snr.items():
        added = (y - x)[chosen]
        assert len(added) > 5
        measured = 10 * torch.log10(x[chosen].square().mean(dim=1) / added.square().mean(dim=1))
        torch.testing.assert_close(measured, torch.full_like(measured, snr), atol=1e-2, rtol=0)
    spared = impulse & ~by_snr[0.0] & ~by_snr[20.0]
    assert spared.sum() > 5
    torch.testing.assert_close(y[spared], x[spared], atol=1e-5, rtol=0)


def test_two_rooms_of_different_length_stay_apart():
    rooms = {name: Reverb("rooms", CLIPS, read_noise, seconds=seconds) for name, seconds in (("a", 0.1), ("b", 0.2))}
    assert Choice(rooms).draw(np.random.default_rng(0), 100).keys() == {"a", "b"}


def test_a_choice_may_hold_a_choice_and_an_alternative_its_own_probability():
    choice = Choice({"one": Choice({"up": Gain([6, 6], probability=0.5)}), "down": Gain([-6, -6])})
    up, down = np.array(
        [
            [drawn["one"]["up"]["factor"], drawn["down"]["factor"]]
            for drawn in (choice.draw(np.random.default_rng(seed), 10) for seed in range(1000))
        ]
    ).T
    assert 200 < (up > 1).sum() < 300 and 450 < (down < 1).sum() < 550 and not ((up > 1) & (down < 1)).any()


@pytest.mark.parametrize("weights", [{"gain": -1}, {"gain": 0}])
def test_bad_weights_are_named(weights):
    with pytest.raises(ValueError, match="weights="):
        Choice({"gain": Gain([0, 1])}, weights)


def test_unknown_names_and_no_alternatives_are_named():
    with pytest.raises(ValueError, match="weights: there is no augmentation 'gian' among gain"):
        Choice({"gain": Gain([0, 1])}, {"gian": 1})
    with pytest.raises(ValueError, match="weights="):
        Choice({"off": None})
    with pytest.raises(ValueError, match="probability=3"):
        Choice({"gain": Gain([0, 1])}, probability=3)
