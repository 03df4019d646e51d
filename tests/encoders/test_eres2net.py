import pytest
import torch
from batches import calibrated, padded, utterances

from speakerlab.encoders.eres2net import ERes2Net
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.pooling.statistics import Statistics

DIM = 11


def tiny(feature_channels: int = 1) -> ERes2Net:
    torch.manual_seed(0)
    encoder = ERes2Net(DIM, Statistics, feature_channels, channels=8, depths=(1, 1, 2, 1), scale=2, embed_dim=6)
    return calibrated(encoder, 2.0 * torch.randn(8, feature_channels, 40, DIM) + 0.5)


@pytest.mark.parametrize(
    "channels, embed_dim, parameters", [(32, 192, 6_610_688), (32, 512, 9_887_808), (64, 192, 22_462_784)]
)
def test_published_sizes(channels, embed_dim, parameters):
    with torch.device("meta"):
        encoder = ERes2Net(80, Statistics, channels=channels, embed_dim=embed_dim)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.embed_dim == embed_dim


@torch.inference_mode()
def test_global_fusion_spelled_out():
    """Figure 1: each stage with what has been fused below it, brought to its shape."""
    encoder, (batch,) = tiny(), utterances((2, 21, DIM))
    one, two, three, four = (x for x, _ in encoder.stages(as_planes(batch), None))

    def halved(x, number):
        return torch.nn.functional.conv2d(x, encoder.halve[number].weight, stride=2, padding=1)

    def fused(x, below, number):
        preference = encoder.fuse[number].attention(torch.cat([x, below], dim=1)).tanh()
        return (1 + preference) * x + (1 - preference) * below

    up = fused(two, halved(one, 0), 0)
    up = fused(three, halved(up, 1), 1)
    up = fused(four, halved(up, 2), 2)  # (batch, 128, 2, 3)
    expected = torch.cat([up[:, channel] for channel in range(128)], dim=1)  # frequencies run within a channel
    found, _ = encoder.frame_level(batch, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    pooled = torch.cat([expected.mean(dim=-1), expected.var(dim=-1, unbiased=False).clamp(min=1e-7).sqrt()], dim=1)
    linear = encoder.project
    torch.testing.assert_close(encoder(batch), pooled @ linear.weight.T + linear.bias, atol=1e-4, rtol=1e-4)


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


@pytest.mark.parametrize("wrong", [{"embed_dim": 0}, {"feature_dim": 0}, {"feature_channels": 0}, {"expansion": 0}])
def test_sizes_below_one_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value} must be at least 1"):
        ERes2Net(**{"feature_dim": DIM, "pooling": Statistics} | wrong)
