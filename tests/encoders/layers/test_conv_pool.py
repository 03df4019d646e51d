import pytest
import torch
from torch.nn import functional as F

from speakerlab.encoders.layers.conv_pool import ConvPool2d, pair_maxima


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_maxima_are_torchs(size):
    x = torch.randn(3, 2, size, generator=torch.Generator().manual_seed(0)).relu()
    torch.testing.assert_close(pair_maxima(x), F.max_pool1d(x, 2, ceil_mode=True))


@pytest.mark.parametrize("time_pool", [1, 2])
@torch.inference_mode()
def test_a_block_is_convolution_norm_rectifier_and_maxima(time_pool):
    torch.manual_seed(0)
    block = ConvPool2d(3, 4, time_pool).eval()
    block.conv.norm.running_mean.normal_()
    block.conv.norm.bias.normal_()
    x = torch.randn(3, 3, 9, 11)
    lengths = [11, 6, 1]
    mask = (torch.arange(11) < torch.tensor(lengths)[:, None]).unsqueeze(1)
    found, left = block(x.masked_fill(~mask.unsqueeze(2), float("nan")), mask)
    for i, length in enumerate(lengths):
        alone = block.conv.norm(F.conv2d(x[i : i + 1, ..., :length], block.conv.conv.weight, padding=1)).relu()
        alone = F.max_pool2d(alone, (2, time_pool), ceil_mode=True)
        assert left[i].sum() == alone.shape[-1] == -(-length // time_pool)
        torch.testing.assert_close(found[i : i + 1, ..., : alone.shape[-1]], alone, atol=1e-5, rtol=1e-5)
    unmasked, none = block(x, None)
    assert none is None
    torch.testing.assert_close(unmasked[0], found[0])
