import pytest
import torch

from speakerlab.features.norm.mean_variance import MeanVarianceNorm


@pytest.mark.parametrize("shape", [(3, 9, 4), (3, 2, 9, 4)])
@pytest.mark.parametrize("lengths", [None, [9, 2, 5]])
def test_each_items_own_frames(shape, lengths):
    features = 2.0 * torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 3.0
    normed = MeanVarianceNorm()(features, None if lengths is None else torch.tensor(lengths))
    for row, length in enumerate(lengths or [9] * 3):
        own = features[row, ..., :length, :].double()
        expected = (own - own.mean(-2, keepdim=True)) / own.std(-2, unbiased=False, keepdim=True)
        torch.testing.assert_close(normed[row, ..., :length, :].double(), expected, atol=1e-4, rtol=1e-4)


def test_a_constant_is_zero_with_a_finite_gradient():
    features = torch.full((1, 5, 3), 7.0, requires_grad=True)
    normed = MeanVarianceNorm()(features)
    normed.sum().backward()
    assert not normed.any() and features.grad.isfinite().all()


def test_what_is_added_to_the_variance():
    """As torch's instance norm has it: what hardly changes stays small."""
    features = 0.001 * torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)) + 3.0
    expected = torch.nn.InstanceNorm1d(4, eps=1e-5)(features.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(MeanVarianceNorm(1e-5)(features), expected, atol=1e-3, rtol=0)
    assert expected.abs().max() < 1 < MeanVarianceNorm()(features).abs().max()
    with pytest.raises(ValueError, match="eps=-1 must be at least 0"):
        MeanVarianceNorm(-1)
