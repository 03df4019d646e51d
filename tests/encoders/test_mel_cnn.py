import pytest
import torch
from torch.nn import functional as F

from speakerlab.encoders.mel_cnn import MelCnn
from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.pooling.statistics import Statistics


def tiny(feature_channels: int = 1, dropout: float = 0.3) -> MelCnn:
    """Kilobytes, in evaluation mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = MelCnn(12, Mean, feature_channels, channels=(4, 6, 8), embed_dim=5, dropout=dropout)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    encoder(torch.randn(4, feature_channels, 30, 12))
    return encoder.eval()


def test_size():
    with torch.device("meta"):
        encoder = MelCnn(64, Statistics)
    widths = [1, 32, 64, 128, 256, 256]
    convolutions = sum(9 * ahead * behind + 2 * behind for ahead, behind in zip(widths, widths[1:]))
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + 2 * 512 * 256 + 3 * 256


@torch.inference_mode()
def test_the_network_is_what_it_says():
    """Convolution, batch norm, ReLU, 2x2 maxima, three times; what is left averaged over time, and a dense layer."""
    encoder, x = tiny(), torch.randn(2, 21, 12, generator=torch.Generator().manual_seed(1))
    planes = x.transpose(1, 2).unsqueeze(1)
    for block in encoder.blocks:
        planes = block.conv.norm(F.conv2d(planes, block.conv.conv.weight, padding=1)).relu()
        planes = F.max_pool2d(planes, 2, ceil_mode=True)
    assert planes.shape == (2, 8, 2, 3)
    expected = encoder.embedding_norm(encoder.project(planes.mean(dim=-1).flatten(1)))
    torch.testing.assert_close(encoder(x), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_any_length_and_padding_changes_nothing():
    encoder, lengths = tiny(), [29, 1, 8, 17]
    batch = torch.randn(4, 40, 12, generator=torch.Generator().manual_seed(1))
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = float("nan")
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(row[None, :length]) for row, length in zip(batch, lengths, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_channels_of_features_and_dropout():
    encoder, x = tiny(feature_channels=2, dropout=0.5), torch.randn(3, 2, 20, 12)
    assert torch.equal(encoder(x), encoder(x))
    assert not torch.equal(encoder.train()(x), encoder(x))


@pytest.mark.parametrize(
    "options, message",
    [({"channels": ()}, "channels"), ({"embed_dim": 0}, "embed_dim=0"), ({"dropout": 1.0}, "dropout=1.0")],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MelCnn(**{"feature_dim": 12, "pooling": Mean, **options})
