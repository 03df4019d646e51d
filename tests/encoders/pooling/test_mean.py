import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.pooling.mean import Mean


@pytest.mark.parametrize("lengths", [None, [7, 1, 4]])
def test_mean_of_each_items_own_frames(lengths):
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    pooled = Mean(5)(x, None if lengths is None else frame_mask(torch.tensor(lengths), 7))
    for row, length in enumerate(lengths or [7] * 3):
        torch.testing.assert_close(pooled[row], x[row, :, :length].mean(dim=1))
    assert Mean(5).out_dim == 5
