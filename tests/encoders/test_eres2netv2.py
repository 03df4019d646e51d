import pytest
import torch
from batches import calibrated, padded, utterances

from speakerlab.encoders.eres2netv2 import ERes2NetV2
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.pooling.statistics import Statistics

DIM = 11


def tiny(feature_channels: int = 1) -> ERes2NetV2:
    torch.manual_seed(0)
    encoder = ERes2NetV2(DIM, Statistics, feature_channels, channels=8, depths=(1, 1, 2, 1), scale=3, embed_dim=6)
    return calibrated(encoder, 2.0 * torch.randn(8, feature_channels, 40, DIM) + 0.5)


def test_published_size():
    with torch.device("meta"):
        encoder = ERes2NetV2(80, Statistics)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 17_859_632
    assert encoder.embed_dim == 192


@torch.inference_mode()
def test_the_last_two_stages_are_fused():
    encoder, (batch,) = tiny(), utterances((2, 21, DIM))
    _, _, (third, _), (fourth, _) = encoder.stages(as_planes(batch), None)
    below = torch.nn.functional.conv2d(third, encoder.halve.weight, stride=2, padding=1)
    preference = encoder.fuse.attention(torch.cat([fourth, below], dim=1)).tanh()
    fused = (1 + preference) * fourth + (1 - preference) * below  # (batch, 128, 2, 3)
    found, _ = encoder.frame_level(batch, None)
    torch.testing.assert_close(found, fused.reshape(2, 256, 3), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("channels", [1, 2])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(channels, fill):
    encoder, lengths = tiny(channels), [33, 1, 17, 32, 5, 2]
    items = utterances(*((channels, length, DIM) for length in lengths))
    together = encoder(padded(items, 44, fill, axis=1), torch.tensor(lengths))
    alone = torch.cat([encoder(item[None]) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


@pytest.mark.parametrize("wrong", [{"embed_dim": 0}, {"feature_dim": 0}, {"channels": 0}])
def test_sizes_below_one_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value} must be at least 1"):
        ERes2NetV2(**{"feature_dim": DIM, "pooling": Statistics} | wrong)
