"""The same numbers in another order in memory."""

import copy

import pytest
import torch
from torch import nn

from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.resnet import ResNet
from speakerlab.training.channels_last import put_channels_last


def resnet(**settings) -> ResNet:
    torch.manual_seed(0)
    return ResNet(16, Statistics, depths=(1, 1, 1, 1), width=8, embed_dim=12, **settings)


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
    encoder, before, after = resnet(), [], []
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
