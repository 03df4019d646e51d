import math

import pytest
import torch
from torch.nn.functional import conv1d

from speakerlab.encoders.layers.conformer import (
    ConformerBlock,
    ConvolutionModule,
    RelativeAttention,
    relative_positions,
    shift_to_keys,
)
from speakerlab.encoders.layers.masking import frame_mask

WIDTH, HEADS, FRAMES = 8, 2, 7


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("frames", [1, 6])
def test_positions_are_sinusoids_of_the_distance(frames):
    positions = relative_positions(frames, WIDTH)
    assert positions.shape == (2 * frames - 1, WIDTH)
    for row, distance in enumerate(range(frames - 1, -frames, -1)):
        for i in range(WIDTH // 2):
            angle = distance / 10000 ** (2 * i / WIDTH)
            assert positions[row, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert positions[row, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_every_key_gets_the_score_of_its_distance(frames):
    scores = noise(2, 3, frames, 2 * frames - 1)
    shifted = shift_to_keys(scores)
    assert shifted.shape == (2, 3, frames, frames)
    for query in range(frames):
        for key in range(frames):
            column = frames - 1 - (query - key)  # the distances fall from frames - 1
            assert torch.equal(shifted[..., query, key], scores[..., query, column])


def naive_attention(layer: RelativeAttention, x: torch.Tensor) -> torch.Tensor:
    """Dai et al., section 3.3, for one item `(frames, width)`: terms (a) to (d), key by key, in double precision."""

    def apply(linear: torch.nn.Linear, value: torch.Tensor) -> torch.Tensor:
        result = linear.weight.double() @ value
        return result if linear.bias is None else result + linear.bias.double()

    size = WIDTH // HEADS
    frames = [frame.double() for frame in x]
    outputs = []
    for i, query_frame in enumerate(frames):
        joined = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            query = apply(layer.query, query_frame)[part]
            scores, values = [], []
            for j, key_frame in enumerate(frames):
                angles = [(i - j) / 10000 ** (2 * k / WIDTH) for k in range(WIDTH // 2)]
                sinusoid = torch.tensor([wave(angle) for angle in angles for wave in (math.sin, math.cos)]).double()
                key, place = apply(layer.key, key_frame)[part], apply(layer.position, sinusoid)[part]
                u, v = layer.content_bias[head].double(), layer.position_bias[head].double()
                scores.append((query @ key + query @ place + u @ key + v @ place) / math.sqrt(size))
                values.append(apply(layer.value, key_frame)[part])
            weights = torch.stack(scores).softmax(dim=0)
            joined.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
        outputs.append(apply(layer.out, torch.cat(joined)))
    return torch.stack(outputs)


@torch.inference_mode()
def test_attention_is_the_papers():
    torch.manual_seed(0)
    layer, x = RelativeAttention(WIDTH, HEADS), 3.0 * noise(2, FRAMES, WIDTH)
    found = layer(x, relative_positions(FRAMES, WIDTH), None)
    expected = torch.stack([naive_attention(layer, item) for item in x])
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_attention_looks_at_no_padding():
    torch.manual_seed(0)
    layer, x, lengths = RelativeAttention(WIDTH, HEADS), 3.0 * noise(3, FRAMES, WIDTH), [7, 1, 4]
    together = layer(x, relative_positions(FRAMES, WIDTH), frame_mask(torch.tensor(lengths), FRAMES))
    for row, item, length in zip(together, x, lengths, strict=True):
        torch.testing.assert_close(row[:length].double(), naive_attention(layer, item[:length]), atol=1e-5, rtol=1e-5)


def test_convolution_spelled_out_and_blind_to_padding():
    torch.manual_seed(0)
    layer, x, lengths = ConvolutionModule(WIDTH, 5).eval(), noise(3, FRAMES, WIDTH), [7, 1, 4]
    for values in (layer.norm.running_mean, layer.norm.bias):
        torch.nn.init.normal_(values)
    together = layer(x, frame_mask(torch.tensor(lengths), FRAMES))
    for row, item, length in zip(together, x, lengths, strict=True):
        expanded = layer.expand.weight[:, :, 0] @ item[:length].T + layer.expand.bias[:, None]
        gated = expanded[:WIDTH] / (1 + (-expanded[WIDTH:]).exp())
        y = conv1d(gated[None], layer.temporal.weight, layer.temporal.bias, padding=2, groups=WIDTH)
        y = layer.norm(y)[0]
        y = layer.mix.weight[:, :, 0] @ (y / (1 + (-y).exp())) + layer.mix.bias[:, None]
        torch.testing.assert_close(row[:length], y.T, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_block_is_the_papers():
    """Figure 1: x + FFN / 2, + attention, + convolution, + FFN / 2, norm; each of a layer norm of what it adds to."""
    torch.manual_seed(0)
    block, x = ConformerBlock(WIDTH, HEADS, hidden=12, kernel=3, dropout=0.5).eval(), noise(2, FRAMES, WIDTH)
    for norm in (*block.norms, block.last_norm):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    positions = relative_positions(FRAMES, WIDTH)

    def normed(y, norm):
        scaled = (y - y.mean(dim=-1, keepdim=True)) / (y.var(dim=-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        return scaled * norm.weight + norm.bias

    def hidden_layer(y, part):
        first, _, _, second = part
        hidden = y @ first.weight.T + first.bias
        return (hidden * hidden.sigmoid()) @ second.weight.T + second.bias

    y = x + hidden_layer(normed(x, block.norms[0]), block.before) / 2
    y = y + block.attention(normed(y, block.norms[1]), positions, None)
    y = y + block.convolution(normed(y, block.norms[2]), None)
    y = y + hidden_layer(normed(y, block.norms[3]), block.after) / 2
    torch.testing.assert_close(block(x, positions, None), normed(y, block.last_norm), atol=1e-5, rtol=1e-5)
