import numpy as np
import pytest
import torch

from speakerlab.augment.clipping import Clipping


def test_samples_are_cut_off_at_a_share_of_the_peak_whatever_the_level():
    x = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1e-4], [1.0], [30.0]])
    share = torch.tensor([0.1, 0.5, 1.0])
    clipped = Clipping.apply(x, {"share": share})
    for item, one, output in zip(x.numpy(), share.numpy(), clipped.numpy(), strict=True):
        limit = np.abs(item).max() * one
        np.testing.assert_allclose(output, np.clip(item, -limit, limit), rtol=1e-6)
    assert torch.equal(clipped[2], x[2])
    assert not Clipping.apply(torch.zeros(1, 10), {"share": torch.tensor([0.1])}).any()


def test_the_threshold_is_uniform_in_db():
    augmentation = Clipping([-20, -3], 0.5)
    share = np.array([augmentation.draw(np.random.default_rng(seed), 10)["share"] for seed in range(2000)])
    db = 20 * np.log10(share[share < 1])
    assert 900 < len(db) < 1100
    assert -20 <= db.min() < -19.8 and -3.2 < db.max() <= -3 and abs(db.mean() + 11.5) < 0.6


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"threshold_db=\[-3, 1\].*within -60 to 0"):
        Clipping([-3, 1])
