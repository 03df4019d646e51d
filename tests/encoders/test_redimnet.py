import math
from functools import partial

import pytest
import torch
from batches import calibrated, padded, utterances
from torch.nn.functional import conv1d, conv2d, gelu

from speakerlab.build import build_network
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.redimnet import ReDimNet, TimeContext, WeightedSum, to_1d, to_2d

DIM = 12
POOLING = partial(AttentiveStatistics, bottleneck=8)
SIZES = {
    "channels": 4,
    "strides": (1, 2, 3),
    "depths": (1, 2, 1),
    "expansions": (2, 1, 1),
    "reductions": (None, 6, 4),
    "group_width": 2,
}


def randomised(encoder: ReDimNet) -> ReDimNet:
    """With weights of the sums that differ, as no fresh network has them."""
    for add in encoder.sums:
        torch.nn.init.normal_(add.logits)
    return encoder


def tiny(block: str, feature_channels: int = 1) -> ReDimNet:
    torch.manual_seed(0)
    encoder = ReDimNet(DIM, POOLING, feature_channels, block=block, embed_dim=6, **SIZES)
    return calibrated(randomised(encoder), 2.0 * torch.randn(8, feature_channels, 40, DIM) + 0.5)


def encoder_of(compose, model: str) -> ReDimNet:
    with torch.device("meta"):
        return build_network(compose(f"model={model}")[0]).encoder


@pytest.mark.parametrize(
    "size, millions",  # published: 1.0, 2.2, 4.7, 3.0, 6.3, 9.2 and 15.0; see the module's docstring
    [("b0", 1.0), ("b1", 2.1), ("b2", 5.1), ("b3", 3.2), ("b4", 6.4), ("b5", 7.7), ("b6", 15.0)],
)
def test_sizes(compose, size, millions):
    encoder = encoder_of(compose, f"redimnet_{size}")
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 1) == millions
    assert encoder.embed_dim == 192


@pytest.mark.parametrize("size, released", [("b2", 5_100_983), ("b5", 7_709_351)])
def test_as_many_values_as_the_released_weights(compose, size, released):
    """Batch norm's statistics and counters among them."""
    front_end = 400 + 257 * 72 + 2  # window, mel filters, pre-emphasis
    first_weight = 1  # of the first stage's sum of one, which says nothing
    attention_norm = 4 * 128 + 1  # the batch norm of this project's pooling, which the authors' has not
    values = sum(value.numel() for value in encoder_of(compose, f"redimnet_{size}").state_dict().values())
    assert values - attention_norm + front_end + first_weight == released


def test_one_dimension_and_two():
    """Frequencies outside, so that a band of the frame is a band, whatever it is viewed as."""
    x = torch.randn(2, 6, 4, 5)  # (batch, channels, dim, frames)
    flat = to_1d(x)
    for channel in range(6):
        for frequency in range(4):
            assert torch.equal(flat[:, frequency * 6 + channel], x[:, channel, frequency])
    assert torch.equal(to_2d(flat, 6), x)
    assert torch.equal(to_2d(flat, 12)[:, :, 0], flat[:, :12])  # two frequencies become one


def test_sums_are_of_shares():
    add = WeightedSum(3, 2)
    assert torch.allclose(add.logits.softmax(dim=0), torch.tensor(1 / 3))  # equal at first
    with torch.no_grad():
        add.logits[:, :, 0] = torch.tensor([[0.2, 1.0], [0.3, 0.0], [0.5, 0.0]]).log()
    outputs = [torch.full((1, 2, 1), value) for value in (1.0, 10.0, 100.0)]
    torch.testing.assert_close(add(outputs).flatten(), torch.tensor([0.2 + 3.0 + 50.0, 1.0]))


def layer_norm(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
    """Over the channels of `(channels, ...)`."""
    scaled = (x - x.mean(dim=0)) / (x.var(dim=0, unbiased=False) + 1e-6).sqrt()
    shape = (-1, *(1,) * (x.ndim - 1))
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def time_context(x: torch.Tensor, part: TimeContext) -> torch.Tensor:
    """The 1-D block of one item `(channels, frames)`, in loops over heads and frames."""
    y = layer_norm(part.narrow.weight[:, :, 0] @ x + part.narrow.bias[:, None], part.norm)
    for convolution, kernel in zip(part.convolutions, (7, 19, 31, 59), strict=True):
        temporal = convolution.temporal
        assert temporal.kernel_size == (kernel,)
        z = conv1d(y[None], temporal.weight, temporal.bias, padding=kernel // 2, groups=len(y))
        mix = convolution.mix
        y = y + (mix.weight[:, :, 0] @ gelu(convolution.norm(z))[0] + mix.bias[:, None])
    layer = part.attention
    width = len(y) // 4
    attended = torch.zeros_like(y)
    query, key, value = (layer.self_attn.in_proj_weight @ y + layer.self_attn.in_proj_bias[:, None]).chunk(3)
    for head in range(4):
        rows = slice(head * width, (head + 1) * width)
        for frame in range(y.shape[1]):
            scores = (query[rows, frame] @ key[rows]) / math.sqrt(width)
            attended[rows, frame] = value[rows] @ (scores - scores.max()).exp() / (scores - scores.max()).exp().sum()
    y = layer_norm(y + layer.self_attn.out_proj.weight @ attended + layer.self_attn.out_proj.bias[:, None], layer.norm1)
    hidden = layer.linear1.weight @ y + layer.linear1.bias[:, None]
    hidden = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    y = layer_norm(y + layer.linear2.weight @ hidden + layer.linear2.bias[:, None], layer.norm2)
    return x + part.widen.weight[:, :, 0] @ y + part.widen.bias[:, None]


@torch.inference_mode()
def test_time_context_to_the_last_digit():
    """In double precision, in which GELU and its approximation by tanh differ."""
    torch.manual_seed(0)
    context = TimeContext(12, 8).double().eval()
    x = 3.0 * torch.randn(12, 17, dtype=torch.float64)
    torch.testing.assert_close(context(x[None], None)[0], time_context(x, context), atol=1e-9, rtol=1e-9)


@torch.inference_mode()
def test_network_spelled_out():
    encoder, (item,) = tiny("convnext"), utterances((23, DIM))
    stem = conv2d(item.T[None, None], encoder.stem.weight, encoder.stem.bias, padding=1)[0]  # (4, 12, 23)
    outputs = [layer_norm(stem, encoder.stem_norm).transpose(0, 1).reshape(48, 23)]
    x, channels = outputs[0], 4
    for number, (stage, stride, expansion) in enumerate(zip(encoder.stages, (1, 2, 3), (2, 1, 1), strict=True)):
        y = x.reshape(48 // channels, channels, 23).transpose(0, 1)[None]  # (1, channels, dim, 23)
        channels *= stride
        y = conv2d(y, stage.resize.weight, stage.resize.bias, stride=(stride, 1))
        assert y.shape == (1, channels * expansion, 48 // channels, 23)
        assert len(stage.blocks) == (1, 2, 1)[number]
        for block in stage.blocks:
            y = block(y, None)
        if number == 0:  # the one that is wider inside
            spatial, norm, mix = stage.squeeze
            y = gelu(norm(conv2d(y, spatial.weight, spatial.bias, padding=1, groups=channels // 2)))
            y = conv2d(y, mix.weight, mix.bias)
        else:
            assert stage.squeeze is None
        y = y[0].transpose(0, 1).reshape(48, 23)
        outputs.append(y if number == 0 else time_context(y, stage.context))
        weights = encoder.sums[number].logits.exp()  # (inputs, 48, 1)
        x = sum(weight * output for weight, output in zip(weights, outputs, strict=True)) / weights.sum(dim=0)
    torch.testing.assert_close(encoder.frame_level(item[None], None)[0], x, atol=1e-4, rtol=1e-4)
    pooled = encoder.pooling_norm(encoder.pooling(x[None]))
    expected = pooled @ encoder.project.weight.T + encoder.project.bias
    torch.testing.assert_close(encoder(item[None]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("block, channels", [("convnext", 1), ("basic", 2), ("basic_gated", 1)])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(block, channels, fill):
    encoder, lengths = tiny(block, channels), [33, 1, 17, 32, 5, 2]
    items = utterances(*((channels, length, DIM) for length in lengths))
    together = encoder(padded(items, 44, fill, axis=1), torch.tensor(lengths))
    alone = torch.cat([encoder(item[None]) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


def test_padding_gives_no_gradient_that_is_not_finite():
    encoder, lengths = tiny("basic_gated"), [13, 4]
    items = utterances(*((1, length, DIM) for length in lengths))
    encoder(padded(items, 16, float("nan"), axis=1), torch.tensor(lengths)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"channels": 0}, "channels=0 must be at least 1"),
        ({"embed_dim": 0}, "embed_dim=0 must be at least 1"),
        ({"block": "wide"}, "block=wide must be one of convnext, basic, basic_gated"),
        ({"strides": ()}, r"strides=\[\] must be one number of at least 1"),
        ({"depths": (1, 0, 1)}, r"depths=\[1, 0, 1\] must be one number of at least 1 for each of the strides"),
        ({"expansions": (1, 1)}, r"expansions=\[1, 1\] must be one number"),
        ({"reductions": (None, 0, 4)}, r"reductions=\[None, 0, 4\] must be one number"),
        ({"channels": 5}, "group_width=2 does not divide the 5 channels of a stage"),
        ({"channels": 2, "group_width": 3, "expansions": (5, 1, 1)}, "group_width=3 does not divide the 10 channels"),
        ({"strides": (1, 2, 5)}, r"feature_dim=12 must be a multiple of the product of strides=\[1, 2, 5\]"),
        ({"reductions": (None, 6, 5)}, "must divide channels . feature_dim = 48 into multiples of 4"),
        ({"reductions": (None, 6, 8)}, "must divide channels . feature_dim = 48 into multiples of 4"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ReDimNet(DIM, POOLING, **SIZES | wrong)
