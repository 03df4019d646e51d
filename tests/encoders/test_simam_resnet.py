from functools import partial

import numpy as np
import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.simam_resnet import SimamResNet, simam_weights

DIM = 13
ASP = partial(AttentiveStatistics, bottleneck=8, global_context=False)


def tiny() -> SimamResNet:
    """Kilobytes, in evaluation mode, with residuals as large as the rest and batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = SimamResNet(DIM, ASP, depths=(1, 2, 1, 1), width=4, embed_dim=6)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.momentum = None  # the statistics become those of the batches seen, in full
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    encoder(2.0 * torch.randn(8, 40, DIM) + 0.5)
    return encoder.eval()


def utterances(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [2.0 * torch.randn(length, DIM, generator=generator) + 0.5 for length in lengths]


@pytest.mark.parametrize("depths, millions", [((3, 4, 6, 3), 25.2), ((6, 16, 24, 3), 50.2)])
def test_published_sizes(depths, millions):
    with torch.device("meta"):
        encoder = SimamResNet(80, partial(AttentiveStatistics, global_context=False), depths=depths)
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 1) == millions


def least_energy(values: np.ndarray, target: int, regularization: float) -> float:
    """Yang et al.: how well a weight and a bias tell a neuron (to become 1) from its channel (to become -1).

    The least of the mean squared miss of the channel, plus the neuron's, plus the regularised weight, by the normal
    equations. As in the paper the channel's mean and variance are those with the neuron among them.
    """
    mean, variance, value = values.mean(), values.var(ddof=1), values[target]
    normal = [[variance + mean**2 + value**2 + regularization, mean + value], [mean + value, 2.0]]
    weight, bias = np.linalg.solve(normal, [value - mean, 0.0])
    channel = variance * weight**2 + (-1 - weight * mean - bias) ** 2
    return channel + (1 - weight * value - bias) ** 2 + regularization * weight**2


@pytest.mark.parametrize("regularization", [1e-4, 0.3])
def test_weights_are_those_of_the_least_energy(regularization):
    """Value by value: the weight is the sigmoid of the inverse of the least energy."""
    x = 2.0 * torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) + 1.0
    found = simam_weights(x, None, regularization)
    for item in range(2):
        for channel in range(3):
            values = x[item, channel].double().numpy().ravel()
            energies = np.array([least_energy(values, number, regularization) for number in range(len(values))])
            expected = 1 / (1 + np.exp(-1 / energies))
            np.testing.assert_allclose(found[item, channel].numpy().ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
def test_weights_see_an_items_own_frames_alone(fill):
    x = torch.randn(3, 4, 2, 9, generator=torch.Generator().manual_seed(0)) + 3.0
    lengths = [9, 4, 1]
    spoiled = x.clone()
    for row, length in zip(spoiled, lengths, strict=True):
        row[..., length:] = fill
    found = simam_weights(spoiled, frame_mask(torch.tensor(lengths), 9), 1e-4)
    for row, item, length in zip(found, x, lengths, strict=True):
        torch.testing.assert_close(row[..., :length], simam_weights(item[None, ..., :length], None, 1e-4)[0])


def test_one_value_and_constant_channels_have_finite_weights_and_gradients():
    for shape in ((1, 2, 1, 1), (1, 2, 3, 4)):
        x = torch.full(shape, 7.0, requires_grad=True)
        weights = simam_weights(x, None, 1e-4)
        torch.testing.assert_close(weights, torch.full(shape, 1 / (1 + np.exp(-0.5)), dtype=torch.float32))
        weights.sum().backward()
        assert x.grad.isfinite().all()


def test_half_precision_does_not_overflow():
    x = (300.0 * torch.randn(1, 2, 8, 50, generator=torch.Generator().manual_seed(0))).half()
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(simam_weights(x, None, 1e-4), simam_weights(x.float(), None, 1e-4))


@torch.inference_mode()
def test_attention_stands_before_the_skip():
    encoder = tiny()
    block, x = encoder.stages.blocks[1], torch.randn(2, 4, 6, 10, generator=torch.Generator().manual_seed(2))
    residual = block.conv2(block.conv1(x).relu())
    expected = (residual * simam_weights(residual, None, 1e-4) + block.shortcut(x)).relu()
    torch.testing.assert_close(block(x, None)[0], expected)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("frames", [33, 60])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(frames, fill):
    encoder, lengths = tiny(), [33, 1, 17, 32, 24, 2]
    alone = utterances(*lengths)
    batch = torch.full((len(lengths), frames, DIM), fill)
    for row, utterance in zip(batch, alone, strict=True):
        row[: len(utterance)] = utterance
    expected = torch.cat([encoder(utterance[None]) for utterance in alone])
    torch.testing.assert_close(encoder(batch, torch.tensor(lengths)), expected, atol=1e-4, rtol=1e-4)
    assert torch.pdist(expected).min() > 0.1  # or else everything is the same anyway


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"embed_dim": 0}, "embed_dim=0 must be at least 1"),
        ({"regularization": 0.0}, "regularization=0.0 must be above 0"),
        ({"depths": (3, 4)}, r"depths=\[3, 4\] must be 4 numbers"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        SimamResNet(DIM, ASP, **wrong)
