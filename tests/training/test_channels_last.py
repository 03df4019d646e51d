"""The same numbers in another order in memory."""

import copy

import pytest
import torch
from torch import nn

from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.resnet import ResNet
from speakerlab.training.channels_last import put_channels_last


def resnet(width: int = 8, **settings) -> ResNet:
    torch.manual_seed(0)
    return ResNet(16, Statistics, depths=(1, 1, 1, 1), width=width, embed_dim=12, **settings)


ENCODERS = {
    "basic": {},
    "bottleneck with gates": {"block": "bottleneck", "se": True},
    "two planes": {"feature_channels": 2},
}


def features(encoder_name: str) -> torch.Tensor:
    planes = (2,) if encoder_name == "two planes" else ()
    return torch.randn(3, *planes, 40, 16, generator=torch.Generator().manual_seed(1))


def gradients(outputs: torch.Tensor, encoder: nn.Module) -> torch.Tensor:
    """Those of all weights that a sum of the outputs with different weights has."""
    (torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs) * outputs).sum().backward()
    return torch.cat([weight.grad.flatten() for weight in encoder.parameters() if weight.grad is not None])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_same_embeddings_and_gradients(name):
    plain = resnet(**ENCODERS[name])
    last = copy.deepcopy(plain)
    put_channels_last([last])
    x = features(name)
    expected, found = plain(x), last(x)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    # Pooling and gates are in 32 bits always; all else in 64, since in 32 the batch norms of so small a network lose
    # five digits of the gradients, in either order.
    plain, last = (resnet(**ENCODERS[name] | {"se": False}).double() for _ in range(2))
    put_channels_last([last])
    expected, found = (gradients(encoder.frame_level(x.double(), None)[0], encoder) for encoder in (plain, last))
    assert len(found) > 5000 and (found - expected).abs().max() < 1e-9 * expected.abs().max()


def test_only_the_first_convolution_has_to_reorder():
    encoder, before, after = resnet(width=16), [], []
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:  # sees the input before the reordering
        convolution.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0].stride(1) == 1))
    put_channels_last([encoder])
    for convolution in convolutions:
        convolution.register_forward_hook(
            lambda *seen: after.append(seen[2].is_contiguous(memory_format=torch.channels_last))
        )
    encoder(features("basic"))
    assert len(before) > 8 and before == [False] + [True] * (len(before) - 1)
    assert all(after)


def test_evaluation_is_left_alone():
    plain = resnet().eval()
    last = copy.deepcopy(plain)
    put_channels_last([last])
    x = features("basic")
    assert torch.equal(plain(x), last(x))


def test_weights_and_optimizer_states_keep_their_order():
    encoder = resnet()
    names = list(encoder.state_dict())
    put_channels_last([encoder])
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    gradients(encoder(features("basic")), encoder)
    optimizer.step()
    assert list(encoder.state_dict()) == names
    assert all(weight.is_contiguous() and weight.grad.is_contiguous() for weight in encoder.parameters())
    assert all(value.is_contiguous() for state in optimizer.state.values() for value in state.values())


@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 24])
def test_steps_of_one_place_over_few_channels_have_them_first(channels):
    """PyTorch's kernel for the gradients of these crashes where they are last, or for one channel gives wrong ones."""
    torch.manual_seed(0)
    before, narrow = nn.Conv2d(2, channels, 3, padding=1), nn.Conv2d(channels, 24, 1, stride=2, bias=False)
    network = nn.Sequential(before, narrow)
    put_channels_last([network])
    orders = []
    narrow.register_forward_pre_hook(lambda _, inputs: orders.append(inputs[0].stride()))
    x = torch.randn(4, 2, 40, 60)
    found = gradients(network(x), network)
    rows, columns = 40, 60
    first, last = (rows * columns, columns, 1), (1, columns * channels, channels)
    assert orders == [(channels * rows * columns, *(first if channels < 16 else last))]
    plain = copy.deepcopy(network).double()
    for module in plain.modules():
        module._forward_pre_hooks.clear()
        module.zero_grad()
    expected = gradients(plain(x.double()), plain)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
