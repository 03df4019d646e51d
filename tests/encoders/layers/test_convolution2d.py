import pytest
import torch

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import frame_mask


def test_as_planes():
    planes = torch.randn(2, 3, 5, 4)  # (batch, channels, frames, dim)
    assert torch.equal(as_planes(planes)[1, 2, :, 0], planes[1, 2, 0])
    assert torch.equal(as_planes(planes[:, 0]), as_planes(planes[:, :1]))


@pytest.mark.parametrize("kernel, stride, groups", [(1, 1, 1), (3, 1, 1), (3, 2, 4), (7, 2, 1), (1, 2, 2)])
def test_shape_and_padding(kernel, stride, groups):
    """Half the size, rounded up, with stride 2; behind an item's end there is nothing but zeros."""
    torch.manual_seed(0)
    layer = ConvNorm2d(4, 8, kernel, stride, groups)
    x = torch.randn(2, 4, 5, 9)
    spoiled = x.clone()
    spoiled[1, ..., 6:] = torch.nan
    found = layer.eval()(spoiled, frame_mask(torch.tensor([9, 6]), 9))
    assert found.shape == (2, 8, -(-5 // stride), -(-9 // stride))
    torch.testing.assert_close(found[1:, ..., : -(-6 // stride)], layer(x[1:, ..., :6]))
    torch.testing.assert_close(found[:1], layer(x[:1]))


def test_weights_are_drawn_for_relu():
    """He et al.: the variance is 2 over the connections that leave a channel."""
    torch.manual_seed(0)
    weight = ConvNorm2d(64, 128, 3).conv.weight
    assert weight.var().item() == pytest.approx(2 / (9 * 128), rel=0.02)
