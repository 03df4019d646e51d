import pytest
import torch
from torch.nn import functional as F

from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.rawnet3 import RawNet3, whole_mask, whole_maxima


def tiny() -> RawNet3:
    """Kilobytes, in evaluation mode, with batch norms that have seen data and scales that are not their first."""
    torch.manual_seed(0)
    encoder = RawNet3(1, Statistics, channels=16, embed_dim=6, pooled_channels=24, taps=31)
    with torch.no_grad():
        encoder.gain.fill_(1.3)
        encoder.offset.fill_(0.05)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None
    encoder(waveform(8, 2000))
    return encoder.eval()


def waveform(batch: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, 1, generator=torch.Generator().manual_seed(samples))


def test_published_size():
    with torch.device("meta"):
        encoder = RawNet3(1, AttentiveStatistics)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 16_279_298
    assert encoder.embed_dim == 256
    assert [edge.shape for edge in encoder.filters()] == [(128,), (128,)]


@torch.inference_mode()
def test_front_end_is_the_official_one():
    """Reflected pre-emphasis, instance norm, strided filters, the logarithm of what is rectified, without its mean."""
    encoder, x = tiny(), waveform(2, 1234).transpose(1, 2)
    emphasised = F.conv1d(F.pad(x, (1, 0), mode="reflect"), torch.tensor([[[-0.97, 1.0]]]))
    gain, offset = encoder.gain.view(1), encoder.offset.view(1)
    normalised = F.instance_norm(emphasised, weight=gain, bias=offset, eps=1e-4)
    bank = torch.cat([encoder.bands.even(), encoder.bands.odd()]).unsqueeze(1)
    expected = (F.conv1d(normalised, bank, stride=10).abs() + 1e-6).log()
    expected = expected - expected.mean(dim=-1, keepdim=True)
    found = encoder.spectrum(x.squeeze(1), None)
    assert found.shape == (2, 4, (1234 - 31) // 10 + 1)
    # Float32 loses digits where a filter's output crosses zero: most agree closely, all roughly.
    assert (found - expected).abs().median() < 1e-5
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    in_training = encoder.train().spectrum(x.squeeze(1), None)
    torch.testing.assert_close(in_training, expected, atol=0.05, rtol=0)


@torch.inference_mode()
def test_blocks_are_the_papers():
    """Three blocks and their sums, spelled out with the encoder's own layers and torch's pooling."""
    encoder, x = tiny(), waveform(2, 1500)

    def layer(x, part):
        return part.norm(F.relu(F.conv1d(x, part.conv.weight, part.conv.bias, 1, "same", part.conv.dilation)))

    def block(x, part, dilation, pool):
        kept, *groups = layer(x, part.expand).split(2, dim=1)
        outputs = []
        for group, conv in zip(groups, part.res2.layers, strict=True):
            assert conv.conv.dilation == (dilation,)
            outputs.append(layer(group + outputs[-1] if outputs else group, conv))
        hidden = layer(torch.cat([kept, *outputs], dim=1), part.merge) + part.skip(x)
        hidden = F.max_pool1d(hidden, pool) if pool else hidden
        gate = torch.sigmoid(part.scale.gate(hidden.mean(dim=-1)))
        return (hidden + part.scale.alpha) * gate[:, :, None]

    x = encoder.spectrum(x.squeeze(-1), None)
    first = block(x, encoder.blocks[0], 2, 5)
    second = block(first, encoder.blocks[1], 3, 3)
    third = block(F.max_pool1d(first, 3) + second, encoder.blocks[2], 4, None)
    expected = F.relu(encoder.aggregate(torch.cat([F.max_pool1d(first, 3), second, third], dim=1)))
    found, mask = encoder.frame_level(waveform(2, 1500), None)
    assert mask is None
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("fill", [0.0, 9.0, float("nan")])
def test_batch_mates_and_padding_change_nothing(fill):
    encoder, lengths = tiny(), [1900, 171, 180, 1234, 318]
    batch = waveform(5, 2222)
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = fill
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(row[None, :length]) for row, length in zip(batch, lengths, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 0.1


def test_maxima_are_over_whole_windows():
    x = torch.randn(2, 3, 17, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(whole_maxima(x, 5), F.max_pool1d(x, 5))
    mask = torch.arange(17) < torch.tensor([17, 15, 14, 4])[:, None, None]
    assert whole_mask(mask, 5).sum(dim=-1).flatten().tolist() == [3, 3, 2, 0]


def test_every_parameter_learns():
    encoder = tiny().train()
    embeddings = encoder(waveform(4, 1500))
    (embeddings * torch.randn(4, 6, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 1e-10, name


@pytest.mark.parametrize(
    "options, message",
    [
        ({"feature_dim": 80}, "feature_dim=80 must be 1"),
        ({"channels": 20}, "channels=20 must be a multiple of 8"),
        ({"channels": 16, "scale": 3}, "of scale=3"),
        ({"stride": 0}, "stride=0"),
        ({"taps": 250}, "taps=250"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RawNet3(**{"feature_dim": 1, "pooling": Statistics, **options})


def test_too_short_audio_is_refused():
    with pytest.raises(ValueError, match="170 samples are shorter than the 171"):
        tiny()(waveform(1, 170))
