import pytest
import torch
from batches import padded, utterances

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import frame_mask, strided_mask

LENGTHS = [7, 1, 4]


def test_planes():
    features = torch.arange(2 * 4 * 3).view(2, 4, 3)  # (batch, frames, dim)
    planes = as_planes(features)
    assert planes.shape == (2, 1, 3, 4) and planes[1, 0, 2, 3] == features[1, 3, 2]
    stacked = torch.arange(2 * 5 * 4 * 3).view(2, 5, 4, 3)  # (batch, channels, frames, dim)
    planes = as_planes(stacked)
    assert planes.shape == (2, 5, 3, 4) and planes[1, 4, 2, 3] == stacked[1, 4, 3, 2]


@pytest.mark.parametrize("kernel, stride, dim", [(3, 1, 6), (3, 2, 3), (1, 2, 3), (3, (2, 1), 3), (5, (1, 2), 6)])
@torch.inference_mode()
def test_a_padded_batch_is_each_plane_alone(kernel, stride, dim):
    torch.manual_seed(0)
    layer = ConvNorm2d(2, 4, kernel, stride).eval()
    items = utterances(*((2, 6, length) for length in LENGTHS))
    mask = frame_mask(torch.tensor(LENGTHS), 9)
    together = layer(padded(items, 9, float("nan"), axis=2), mask)
    over_frames = stride if isinstance(stride, int) else stride[1]
    lengths = strided_mask(mask, over_frames).sum(dim=-1).flatten().tolist()
    for row, item, length in zip(together, items, lengths, strict=True):
        alone = layer(item[None])[0]
        assert alone.shape == (4, dim, length)
        torch.testing.assert_close(row[:, :, :length], alone)


def test_weights_are_drawn_for_relu():
    """He et al.: the variance is 2 over the connections that leave a channel."""
    torch.manual_seed(0)
    weight = ConvNorm2d(64, 128, 3).conv.weight
    assert weight.var().item() == pytest.approx(2 / (9 * 128), rel=0.02)
