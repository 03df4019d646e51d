import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.squeeze_excitation import SqueezeExcitation1d, SqueezeExcitation2d

LENGTHS = [6, 2, 5]


def naive(layer: SqueezeExcitation1d | SqueezeExcitation2d, item: torch.Tensor) -> torch.Tensor:
    """`(channels, frames)`, one utterance: s = sigmoid(W2 relu(W1 z + b1) + b2), every channel times its s."""
    item = item.double()
    context = [sum(channel) / len(channel) for channel in item]  # z, the mean over time
    hidden = layer.squeeze.weight.double() @ torch.stack(context) + layer.squeeze.bias.double()
    gate = layer.excite.weight.double() @ hidden.clamp(min=0.0) + layer.excite.bias.double()
    return torch.stack([channel / (1.0 + torch.exp(-g)) for channel, g in zip(item, gate, strict=True)]).float()


@pytest.mark.parametrize("masked", [True, False])
def test_it_matches_the_formula_for_each_utterance_alone(masked):
    torch.manual_seed(0)
    layer = SqueezeExcitation1d(channels=4, bottleneck=3)
    x = torch.randn(3, 4, 6) + 1.0
    scaled = layer(x, frame_mask(torch.tensor(LENGTHS), 6) if masked else None)
    assert scaled.shape == x.shape
    for out, item, length in zip(scaled, x, LENGTHS if masked else [6] * 3, strict=True):
        torch.testing.assert_close(out[:, :length], naive(layer, item[:, :length]))


@pytest.mark.parametrize("layer, shape", [(SqueezeExcitation1d, (1, 4, 3000)), (SqueezeExcitation2d, (1, 4, 2, 3000))])
def test_half_precision_does_not_overflow_over_long_utterances(layer, shape):
    torch.manual_seed(0)
    made, mask = layer(channels=4, bottleneck=3), frame_mask(torch.tensor([2999]), 3000)
    x = torch.full(shape, 30.0)  # whose sum is beyond float16
    with torch.autocast("cpu", torch.float16):
        scaled = made(x.half(), mask)
    torch.testing.assert_close(scaled.float(), made(x, mask), atol=0.05, rtol=0.01)


def test_without_biases_silence_halves():
    layer = SqueezeExcitation1d(channels=4, bottleneck=3, bias=False)
    assert [parameter.shape for parameter in layer.parameters()] == [(3, 4), (4, 3)]
    x = torch.tensor([1.0, -1.0]).expand(1, 4, 2)  # whose mean is 0
    torch.testing.assert_close(layer(x), x / 2)


def test_gates_differ_between_utterances_and_lie_between_0_and_1():
    torch.manual_seed(0)
    x = 3.0 * torch.randn(5, 4, 6)
    gates = SqueezeExcitation1d(4, 3)(x) / x
    assert ((gates > 0) & (gates < 1)).all()
    assert gates[:, 0, 0].unique().numel() == 5
    torch.testing.assert_close(gates, gates[:, :, :1].expand_as(gates))  # one gate for all frames


@pytest.mark.parametrize("masked", [True, False])
def test_over_frequency_and_time_it_is_the_same_of_all_their_values(masked):
    torch.manual_seed(0)
    layer = SqueezeExcitation2d(channels=4, bottleneck=3)
    x = torch.randn(3, 4, 5, 6) + 1.0
    scaled = layer(x, frame_mask(torch.tensor(LENGTHS), 6) if masked else None)
    for out, item, length in zip(scaled, x, LENGTHS if masked else [6] * 3, strict=True):
        expected = naive(layer, item[:, :, :length].flatten(1)).view(4, 5, length)
        torch.testing.assert_close(out[:, :, :length], expected)
