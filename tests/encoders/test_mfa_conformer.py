from functools import partial

import pytest
import torch
from batches import calibrated, padded, utterances
from torch.nn.functional import conv2d

from speakerlab.encoders.layers.conformer import relative_positions
from speakerlab.encoders.mfa_conformer import MfaConformer
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics

DIM = 11
POOLING = partial(AttentiveStatistics, bottleneck=8)
SIZES = {"blocks": 2, "width": 8, "heads": 2, "hidden": 12, "kernel": 5, "embed_dim": 6}


def tiny(subsampling: int = 2, feature_channels: int = 1) -> MfaConformer:
    torch.manual_seed(0)
    encoder = MfaConformer(DIM, POOLING, feature_channels, subsampling, **SIZES)
    return calibrated(encoder, 2.0 * torch.randn(8, feature_channels, 40, DIM) + 0.5)


@pytest.mark.parametrize("subsampling, parameters", [(2, 19_759_424), (4, 19_038_784)])
def test_size_of_the_authors_code(subsampling, parameters):
    with torch.device("meta"):
        encoder = MfaConformer(80, AttentiveStatistics, subsampling=subsampling)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.embed_dim == 192


@pytest.mark.parametrize("subsampling, frames", [(2, [12, 9]), (4, [6, 5])])
@torch.inference_mode()
def test_network_spelled_out(subsampling, frames):
    encoder = tiny(subsampling)
    for length, expected_frames in zip((23, 17), frames, strict=True):
        (item,) = utterances((length, DIM))
        x = item[None, None]  # (1, 1, frames, dim)
        for convolution in encoder.subsampling.convolutions:
            x = torch.nn.functional.pad(x, (0, 0, 1, 1))  # a frame at either end, no frequency
            x = conv2d(x, convolution.weight.transpose(2, 3), convolution.bias, stride=2).relu()
        rows = x[0].permute(1, 0, 2).flatten(1)  # (frames, width * dim)
        y = (rows @ encoder.subsampling.project.weight.T + encoder.subsampling.project.bias)[None]
        assert y.shape == (1, expected_frames, 8)
        outputs = []
        for block in encoder.blocks:
            y = block(y, relative_positions(expected_frames, 8), None)
            outputs.append(y)
        aggregated = encoder.norm(torch.cat(outputs, dim=2)).transpose(1, 2)
        torch.testing.assert_close(encoder.frame_level(item[None], None)[0], aggregated, atol=1e-5, rtol=1e-5)
        pooled = encoder.pooling_norm(encoder.pooling(aggregated))
        expected = pooled @ encoder.project.weight.T + encoder.project.bias
        torch.testing.assert_close(encoder(item[None]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("subsampling, channels", [(2, 1), (4, 2)])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(subsampling, channels, fill):
    encoder, lengths = tiny(subsampling, channels), [33, 1, 17, 32, 5, 2]
    items = utterances(*((channels, length, DIM) for length in lengths))
    together = encoder(padded(items, 44, fill, axis=1), torch.tensor(lengths))
    alone = torch.cat([encoder(item[None]) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


def test_padding_gives_no_gradient_that_is_not_finite():
    encoder, lengths = tiny(), [13, 4]
    items = utterances(*((1, length, DIM) for length in lengths))
    encoder(padded(items, 16, float("nan"), axis=1), torch.tensor(lengths)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_dropout_is_of_training_alone():
    encoder, (item,) = tiny(), utterances((2, 20, DIM))
    assert torch.equal(encoder(item), encoder(item))
    encoder.blocks.train()
    assert not torch.equal(encoder(item), encoder(item))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"blocks": 0}, "blocks=0 must be at least 1"),
        ({"hidden": 0}, "hidden=0 must be at least 1"),
        ({"subsampling": 3}, "subsampling=3 must be 2 or 4"),
        ({"feature_dim": 2}, "feature_dim=2 must be at least 3"),
        ({"feature_dim": 6, "subsampling": 4}, "feature_dim=6 must be at least 7"),
        ({"width": 9}, "width=9 must be even and a multiple of heads=2"),
        ({"heads": 3}, "width=8 must be even and a multiple of heads=3"),
        ({"kernel": 4}, "kernel=4 must be odd"),
        ({"dropout": 1.0}, "dropout=1.0 must lie in 0 to below 1"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        MfaConformer(**{"feature_dim": DIM, "pooling": POOLING} | SIZES | wrong)
