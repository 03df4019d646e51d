import pytest
import torch
from batches import calibrated, padded, utterances
from torch.nn.functional import conv1d, conv2d

from speakerlab.encoders.campplus import CAMPPlus, ContextAwareMask, segment_means
from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.pooling.statistics import Statistics

DIM = 11
SIZES = {"front_channels": 3, "channels": 8, "depths": (2, 3), "dilations": (1, 2), "growth": 4, "bottleneck": 6}


def tiny(feature_channels: int = 1) -> CAMPPlus:
    """Segments of 5 frames, so that utterances have several and end within one."""
    torch.manual_seed(0)
    encoder = CAMPPlus(DIM, Statistics, feature_channels, **SIZES, segment=5, embed_dim=6)
    return calibrated(encoder, 2.0 * torch.randn(8, feature_channels, 40, DIM) + 0.5)


def test_published_size():
    with torch.device("meta"):
        encoder = CAMPPlus(80, Statistics)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 7_176_224
    assert encoder.embed_dim == 512


@pytest.mark.parametrize("frames", [13, 20])
def test_segment_means(frames):
    lengths = [13, 1, 5, 6]
    items = utterances(*((3, length) for length in lengths))
    mask = frame_mask(torch.tensor(lengths), frames)
    together = segment_means(padded(items, frames, float("nan"), axis=1), mask, 5)
    assert together.shape == (4, 3, -(-frames // 5))
    for row, item in zip(together, items, strict=True):
        expected = torch.stack([piece.mean(dim=1) for piece in item.split(5, dim=1)], dim=1)
        torch.testing.assert_close(row[:, : expected.shape[1]], expected)
        torch.testing.assert_close(segment_means(item[None], None, 5)[0], expected)
        assert (row[:, expected.shape[1] :] == 0).all()  # segments of padding alone


def test_padding_gives_no_gradient_that_is_not_finite():
    x, mask = torch.randn(2, 3, 13, requires_grad=True), frame_mask(torch.tensor([13, 2]), 13)
    segment_means(x, mask, 5).square().sum().backward()
    assert x.grad.isfinite().all() and (x.grad[1, :, 2:] == 0).all()


@torch.inference_mode()
def test_masks_are_the_papers():
    """M(t) = sigmoid(W2 relu(W1 (e_g + e_s(t)) + b1) + b2), frame by frame; the convolution's output times that."""
    torch.manual_seed(0)
    layer = ContextAwareMask(6, 4, kernel=3, dilation=2, segment=5)
    for bias in (layer.squeeze.bias, layer.excite.bias):  # zero at first
        torch.nn.init.normal_(bias)
    (x,) = utterances((6, 13))
    w1, w2 = layer.squeeze.weight[:, :, 0].double(), layer.excite.weight[:, :, 0].double()
    assert w1.shape == (3, 6) and w2.shape == (4, 3)
    found = layer(x[None], None)[0]
    for t in range(13):
        start = t // 5 * 5
        context = (x.sum(dim=1) / 13 + x[:, start : start + 5].mean(dim=1)).double()
        hidden = (w1 @ context + layer.squeeze.bias).clamp(min=0)
        scale = 1 / (1 + torch.exp(-(w2 @ hidden + layer.excite.bias)))
        taps = [x[:, t + shift] if 0 <= t + shift < 13 else torch.zeros(6) for shift in (-2, 0, 2)]
        local = sum(layer.local.weight[:, :, tap].double() @ value.double() for tap, value in enumerate(taps))
        torch.testing.assert_close(found[:, t].double(), local * scale, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_network_spelled_out():
    """Figure 1, with the encoder's own weights and masked convolutions."""
    encoder, (batch,) = tiny(), utterances((2, 23, DIM))

    def plane(x, part, stride=1):
        weight = part.conv.weight
        return part.norm(conv2d(x, weight, stride=(stride, 1), padding=weight.shape[-1] // 2))

    front = encoder.front
    x = plane(batch.transpose(1, 2)[:, None], front.stem).relu()
    for number, block in enumerate(front.blocks):  # (batch, 3, 11, 23) -> (batch, 3, 3, 23)
        stride = 1 + (number + 1) % 2
        skip = plane(x, block.shortcut, stride) if stride == 2 else x
        x = (plane(plane(x, block.conv1, stride).relu(), block.conv2) + skip).relu()
    x = plane(x, front.last, stride=2).relu()
    assert x.shape == (2, 3, 2, 23)
    x = encoder.stem_norm(conv1d(x.reshape(2, 6, 23), encoder.stem.weight, stride=2, padding=2)).relu()
    for layers, transition, dilation in zip(encoder.blocks, encoder.transitions, (1, 2), strict=True):
        new = [x]
        for layer in layers:  # each sees all that came before it
            assert layer.masked.local.dilation == (dilation,)
            narrow = conv1d(layer.norm1(torch.cat(new, dim=1)).relu(), layer.narrow.weight)
            new.append(layer.masked(layer.norm2(narrow).relu(), None))
        x = conv1d(transition.norm(torch.cat(new, dim=1)).relu(), transition.halve.weight)
    x = encoder.last_norm(x).relu()
    assert x.shape == (2, (8 + 2 * 4) // 4 + 3 * 4 // 2, 12)
    torch.testing.assert_close(encoder.frame_level(batch, None)[0], x, atol=1e-5, rtol=1e-5)
    pooled = torch.cat([x.mean(dim=-1), x.var(dim=-1, unbiased=False).clamp(min=1e-7).sqrt()], dim=1)
    projected = pooled @ encoder.project.weight.T
    norm = encoder.embedding_norm
    assert norm.weight is None and encoder.project.bias is None
    expected = (projected - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(encoder(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("channels", [1, 2])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(channels, fill):
    encoder, lengths = tiny(channels), [33, 1, 17, 32, 5, 2]
    items = utterances(*((channels, length, DIM) for length in lengths))
    together = encoder(padded(items, 44, fill, axis=1), torch.tensor(lengths))
    alone = torch.cat([encoder(item[None]) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


@torch.inference_mode()
def test_a_segment_gates_its_own_frames():
    """Every frame of a segment has its gates, from the means of that segment and of the utterance."""
    torch.manual_seed(0)
    layer = ContextAwareMask(6, 4, kernel=3, dilation=1, segment=5)
    (x,) = utterances((1, 6, 15))
    other = x.clone()
    other[..., 5], other[..., 6] = x[..., 5] + 3.0, x[..., 6] - 3.0  # the mean of all, and of the segment, stays
    torch.testing.assert_close(layer.gates(x, None), layer.gates(other, None))
    other[..., 5], other[..., 11] = x[..., 5] + 3.0, x[..., 11] - 3.0  # the mean of all stays
    other[..., 6] = x[..., 6]
    changed = (layer.gates(x, None) - layer.gates(other, None)).abs().amax(dim=(0, 1)) > 1e-5
    assert changed.tolist() == [False] * 5 + [True] * 10


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"segment": 0}, "segment=0 must be at least 1"),
        ({"bottleneck": 1}, "bottleneck=1 must be at least 2"),
        ({"embed_dim": 0}, "embed_dim=0 must be at least 1"),
        ({"depths": ()}, r"depths=\[\] and dilations=\[1, 2\] must be equally many"),
        ({"depths": (2, 3, 1)}, r"depths=\[2, 3, 1\] and dilations=\[1, 2\] must be equally many"),
        ({"dilations": (1, 0)}, r"dilations=\[1, 0\] must be equally many numbers of at least 1"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CAMPPlus(DIM, Statistics, **SIZES | wrong)
