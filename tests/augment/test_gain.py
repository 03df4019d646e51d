import numpy as np
import pytest
import torch

from speakerlab.augment.gain import Gain


def factors(augmentation, count):
    return np.array([augmentation.draw(np.random.default_rng(seed), 10)["factor"] for seed in range(count)])


def test_the_level_changes_by_what_was_drawn_uniformly_in_db():
    db = 20 * np.log10(factors(Gain([-12, 6]), 2000))
    assert -12 <= db.min() < -11.8 and 5.8 < db.max() <= 6 and abs(db.mean() + 3) < 0.4
    x = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    drawn = {"factor": torch.tensor([0.5, 1.0, 2.0])}
    expected = torch.stack([x[0] / 2, x[1], x[2] * 2])
    assert torch.equal(Gain.apply(x, drawn), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Gain.apply(x, drawn), expected)


def test_the_others_keep_their_level():
    applied = factors(Gain([-6, -1], probability=0.3), 1000) != 1
    assert 230 < applied.sum() < 370


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"gain_db=\[3, -3\]"):
        Gain([3, -3])
    with pytest.raises(ValueError, match="probability=2"):
        Gain([-3, 3], probability=2)
