import pytest
import torch

from speakerlab.features.norm.min_max import MinMaxNorm


@pytest.mark.parametrize("lengths", [None, [9, 2, 5]])
def test_each_items_own_frames(lengths):
    features = torch.randn(3, 2, 9, 4, generator=torch.Generator().manual_seed(0))
    normed = MinMaxNorm(-1.0, 1.0)(features, None if lengths is None else torch.tensor(lengths))
    for row, length in enumerate(lengths or [9] * 3):
        own = features[row, :, :length]
        expected = 2 * (own - own.min()) / (own.max() - own.min()) - 1
        torch.testing.assert_close(normed[row, :, :length], expected)


def test_a_constant_is_the_lowest():
    assert (MinMaxNorm(0.25, 1.0)(torch.full((1, 5, 3), 7.0)) == 0.25).all()


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="low=1.0 must be below high=1.0"):
        MinMaxNorm(1.0, 1.0)
