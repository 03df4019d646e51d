import pytest
import torch

from speakerlab.features.norm.mean import MeanNorm


@pytest.mark.parametrize("shape", [(3, 9, 4), (3, 2, 9, 4)])
@pytest.mark.parametrize("lengths", [None, [9, 1, 5]])
def test_each_items_own_frames_lose_their_mean(shape, lengths):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 3.0
    normed = MeanNorm()(features, None if lengths is None else torch.tensor(lengths))
    for row, length in enumerate(lengths or [9] * 3):
        own = features[row, ..., :length, :].double()
        expected = own - sum(own.unbind(-2)).unsqueeze(-2) / length
        torch.testing.assert_close(normed[row, ..., :length, :].double(), expected, atol=1e-6, rtol=0)
