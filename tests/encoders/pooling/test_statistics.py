import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.pooling.statistics import Statistics


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("lengths", [None, [7, 1, 4]])
def test_mean_and_deviation_of_each_items_own_frames(lengths, unbiased):
    x = 2.0 * torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)) + 1.0
    mask = None if lengths is None else frame_mask(torch.tensor(lengths), 7)
    pooling = Statistics(5, unbiased)
    pooled = pooling(x, mask)
    assert pooled.shape == (3, pooling.out_dim) and pooling.out_dim == 10
    for row, length in enumerate(lengths or [7] * 3):
        own = x[row, :, :length].double()
        deviation = own.var(dim=1, unbiased=unbiased and length > 1).clamp(min=1e-7).sqrt()
        expected = torch.cat([own.mean(dim=1), deviation])
        torch.testing.assert_close(pooled[row].double(), expected, atol=3e-4 if length == 1 else 1e-5, rtol=0)
