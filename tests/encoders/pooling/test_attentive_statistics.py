"""Attentive statistics against loops over utterances, channels and frames."""

import numpy as np
import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.statistics import weighted_statistics
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics

CHANNELS, FRAMES, LENGTHS = 5, 9, [9, 1, 4, 7]


def make(global_context: bool = True, **settings) -> AttentiveStatistics:
    """In evaluation mode, with a batch norm that has seen something."""
    torch.manual_seed(0)
    pooling = AttentiveStatistics(CHANNELS, bottleneck=3, global_context=global_context, **settings)
    with torch.no_grad():
        if pooling.norm is not None:
            for tensor in (pooling.norm.weight, pooling.norm.bias, pooling.norm.running_mean):
                tensor.copy_(torch.randn(3))
            pooling.norm.running_var.copy_(torch.rand(3) + 0.5)
        pooling.score.weight.mul_(10.0)  # so that attention is far from uniform
    return pooling.eval()


def items(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(len(LENGTHS), CHANNELS, FRAMES, generator=generator) + 1.0


def double(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def naive_attention(pooling: AttentiveStatistics, x: np.ndarray) -> np.ndarray:
    """One utterance `(channels, frames)`: the paper's 1x1 convolution over [frame; mean; deviation], float64."""
    weight, bias = double(pooling.frame_projection.weight)[..., 0], double(pooling.frame_projection.bias)
    if pooling.context_projection is not None:
        weight = np.concatenate([weight, double(pooling.context_projection.weight)], axis=1)
    mean = np.array([sum(channel) / len(channel) for channel in x])
    count = max(x.shape[1] - 1, 1) if pooling.unbiased else x.shape[1]
    variance = np.array([sum((v - m) ** 2 for v in channel) / count for channel, m in zip(x, mean, strict=True)])
    deviation = np.sqrt(np.maximum(variance, pooling.variance_floor))
    scores = np.empty_like(x)
    for t in range(x.shape[1]):
        seen = x[:, t] if pooling.context_projection is None else np.concatenate([x[:, t], mean, deviation])
        hidden = weight @ seen + bias
        if pooling.norm is not None:
            hidden = np.maximum(hidden, 0.0)
            norm = (hidden - double(pooling.norm.running_mean)) / np.sqrt(double(pooling.norm.running_var) + 1e-5)
            hidden = norm * double(pooling.norm.weight) + double(pooling.norm.bias)
        hidden = np.tanh(hidden) if pooling.bounded else hidden
        scores[:, t] = double(pooling.score.weight)[..., 0] @ hidden + double(pooling.score.bias)
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum(axis=1, keepdims=True)


def naive(pooling: AttentiveStatistics, x: np.ndarray) -> np.ndarray:
    """Equations 2 and 3 of the paper: `(channels, frames) -> (2 * channels,)`."""
    weights = naive_attention(pooling, x)
    mean = [sum(w * v for w, v in zip(row, values, strict=True)) for row, values in zip(weights, x, strict=True)]
    square = [sum(w * v * v for w, v in zip(row, values, strict=True)) for row, values in zip(weights, x, strict=True)]
    variance = np.array(square) - np.array(mean) ** 2
    return np.concatenate([mean, np.sqrt(np.maximum(variance, pooling.variance_floor))])


SETTINGS = [
    {},
    {"global_context": False},
    {"hidden": "tanh", "unbiased": True},
    {"hidden": "relu_norm", "global_context": False, "variance_floor": 1e-3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("masked", [True, False])
def test_it_matches_the_paper_for_each_utterance_alone(masked, settings):
    pooling, x = make(**settings), items()
    assert (pooling.norm is None) == (settings.get("hidden") == "tanh")
    assert pooling.bounded != (settings.get("hidden") == "relu_norm")
    mask = frame_mask(torch.tensor(LENGTHS), FRAMES) if masked else None
    weights, pooled = pooling.attention(x, mask), pooling(x, mask)
    assert pooled.shape == (len(LENGTHS), pooling.out_dim) and pooling.out_dim == 2 * CHANNELS
    spread = 0.0
    for i, length in enumerate(LENGTHS if masked else [FRAMES] * len(LENGTHS)):
        own = double(x[i, :, :length])
        np.testing.assert_allclose(double(weights[i, :, :length]), naive_attention(pooling, own), atol=1e-6)
        np.testing.assert_allclose(double(pooled[i]), naive(pooling, own), atol=1e-5, rtol=1e-5)
        spread = max(spread, np.ptp(double(weights[i, :, :length])))
    assert spread > 0.2  # an attention that is nearly uniform would show little


@pytest.mark.parametrize("settings", [{"hidden": "norm"}, {"variance_floor": 0.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        make(**settings)


@pytest.mark.parametrize("training", [True, False])
def test_weights_sum_to_one_and_spare_the_padding(training):
    weights = make().train(training).attention(items(), frame_mask(torch.tensor(LENGTHS), FRAMES))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(len(LENGTHS), CHANNELS))
    for item, length in zip(weights, LENGTHS, strict=True):
        assert (item[:, :length] > 0).all() and (item[:, length:] == 0).all()


def test_padding_may_hold_anything_finite():
    x, mask = items(), frame_mask(torch.tensor(LENGTHS), FRAMES)
    torch.testing.assert_close(make()(x.masked_fill(~mask, 1e6), mask), make()(x, mask))


def test_statistics_under_a_large_mean():
    """The two-pass form keeps a deviation of 0.01 beside a mean of 10,000; E[x^2] - mean^2 in float32 does not."""
    x = (1e4 + 0.01 * torch.randn(3, 4, 200, generator=torch.Generator().manual_seed(0)).double()).float()
    mean, deviation = weighted_statistics(x, torch.full((1, 1, 1), 1 / 200))
    expected = x.double().std(dim=-1, unbiased=False).float()
    torch.testing.assert_close(mean, x.double().mean(dim=-1).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(deviation, expected, rtol=0.02, atol=0)
    one_pass = (x.square().mean(dim=-1) - x.mean(dim=-1).square()).clamp(min=0).sqrt()
    assert (one_pass - expected).abs().max() > expected.min()


def test_statistics_under_weights():
    x, weights = items(), torch.rand(len(LENGTHS), CHANNELS, FRAMES, generator=torch.Generator().manual_seed(1))
    weights = weights / weights.sum(dim=-1, keepdim=True)
    mean, deviation = weighted_statistics(x, weights)
    for i in range(len(LENGTHS)):
        for c in range(CHANNELS):
            expected = np.average(double(x[i, c]), weights=double(weights[i, c]))
            variance = np.average((double(x[i, c]) - expected) ** 2, weights=double(weights[i, c]))
            assert mean[i, c].item() == pytest.approx(expected, abs=1e-5)
            assert deviation[i, c].item() == pytest.approx(np.sqrt(variance), abs=1e-5)


@pytest.mark.parametrize("frames", [1, 6])
@pytest.mark.parametrize("level", [0.0, 3.0])
def test_constant_input_has_finite_gradients(level, frames):
    pooling = make().train()
    x = torch.full((2, CHANNELS, frames), level, requires_grad=True)
    pooling(x, frame_mask(torch.tensor([frames, 1]), frames)).sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in pooling.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_stay_in_float32_under_autocast(dtype):
    """Squares of 300 overflow float16; the reference weighs by what the attention gave under the same autocast."""
    pooling, x = make(), 300.0 + items()
    with torch.autocast("cpu", dtype):
        pooled, weights = pooling(x), pooling.attention(x)
    assert pooled.dtype == weights.dtype == torch.float32
    mean = (weights.double() * x.double()).sum(dim=-1)
    variance = (weights.double() * (x.double() - mean[..., None]).square()).sum(dim=-1)
    expected = torch.cat([mean, variance.clamp(min=1e-7).sqrt()], dim=1).float()
    torch.testing.assert_close(pooled, expected, rtol=1e-3, atol=1e-3)
