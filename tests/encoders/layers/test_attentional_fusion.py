import numpy as np
import pytest
import torch
from batches import calibrated, utterances
from torch import nn

from speakerlab.encoders.layers.attentional_fusion import AttentionalFusion

SHAPE = (3, 6, 2, 5)  # batch, channels, dim, frames


class OnTwo(nn.Module):
    """The layer as a module of one tensor, to be calibrated."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, xy):
        return self.layer(*xy)


@pytest.fixture
def layer() -> AttentionalFusion:
    torch.manual_seed(0)
    return calibrated(OnTwo(AttentionalFusion(6, reduction=2)), torch.stack(utterances(SHAPE, SHAPE))).layer


def affine(x: np.ndarray, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> np.ndarray:
    """Of one position: `(channels,) -> (channels,)`."""
    weight, bias = (part.detach().double().numpy() for part in (convolution.weight[:, :, 0, 0], convolution.bias))
    parts = (norm.running_mean, norm.running_var + norm.eps, norm.weight, norm.bias)
    mean, variance, scale, shift = (part.detach().double().numpy() for part in parts)
    return (weight @ x + bias - mean) / np.sqrt(variance) * scale + shift


@torch.inference_mode()
def test_it_is_the_papers_formula_at_every_position(layer):
    x, y = utterances(SHAPE, SHAPE)
    fused = layer(x, y)
    assert fused.shape == x.shape
    first, norm1, _, second, norm2 = layer.attention
    for position in np.ndindex(3, 2, 5):
        b, d, t = position
        here = [values[b, :, d, t].double().numpy() for values in (x, y)]
        hidden = affine(np.concatenate(here), first, norm1)
        hidden = hidden / (1.0 + np.exp(-hidden))  # SiLU
        preference = np.tanh(affine(hidden, second, norm2))
        expected = (1.0 + preference) * here[0] + (1.0 - preference) * here[1]
        np.testing.assert_allclose(fused[b, :, d, t].numpy(), expected, atol=1e-4)


@torch.inference_mode()
def test_equal_inputs_are_added_and_the_order_matters(layer):
    x, y = utterances(SHAPE, SHAPE)
    torch.testing.assert_close(layer(x, x), 2 * x)
    assert (layer(x, y) - layer(y, x)).abs().max() > 0.1


def test_few_channels_leave_a_hidden_one():
    assert AttentionalFusion(2, reduction=4).attention[0].out_channels == 1
