import pytest
import torch
from torch.nn import functional as F

from speakerlab.encoders.cnn_lstm import CnnLstm
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.pooling.mean import Mean


def tiny(**options) -> CnnLstm:
    """Kilobytes, in evaluation mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = CnnLstm(12, Mean, channels=(4, 6, 8), hidden=5, embed_dim=3, **options)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    encoder(torch.randn(4, 30, 12))
    return encoder.eval()


def test_size():
    with torch.device("meta"):
        encoder = CnnLstm(80, AttentiveStatistics)
    convolutions = sum(9 * ahead * behind + 2 * behind for ahead, behind in ((1, 32), (32, 64), (64, 128)))
    layers = sum(2 * 4 * 256 * (width + 256 + 2) for width in (256, 512))
    pooling = sum(p.numel() for p in encoder.pooling.parameters())
    expected = convolutions + (10 * 128 + 1) * 256 + layers + pooling + (2 * 512 + 1) * 256 + 2 * 256
    assert sum(p.numel() for p in encoder.parameters()) == expected


@torch.inference_mode()
def test_the_network_is_what_it_says():
    """Two convolutions that halve both axes, one that halves the frequencies, a linear layer, LSTM, a mean."""
    encoder, x = tiny(), torch.randn(2, 21, 12, generator=torch.Generator().manual_seed(1))
    planes = x.transpose(1, 2).unsqueeze(1)
    for conv, window in zip(encoder.convs, ((2, 2), (2, 2), (2, 1)), strict=True):
        planes = conv.conv.norm(F.conv2d(planes, conv.conv.conv.weight, padding=1)).relu()
        planes = F.max_pool2d(planes, window, ceil_mode=True)
    assert planes.shape == (2, 8, 2, 6)
    states = encoder.stack(encoder.narrow(planes.flatten(1, 2).transpose(1, 2)))
    expected = encoder.embedding_norm(encoder.project(states.mean(dim=1)))
    torch.testing.assert_close(encoder(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(bidirectional):
    encoder, lengths = tiny(bidirectional=bidirectional), [29, 1, 8, 17]
    batch = torch.randn(4, 40, 12, generator=torch.Generator().manual_seed(1))
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = float("nan")
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(row[None, :length]) for row, length in zip(batch, lengths, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [({"channels": (4, 4)}, "must name 3 widths"), ({"embed_dim": 0}, "embed_dim=0"), ({"hidden": 0}, "hidden=0")],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CnnLstm(**{"feature_dim": 12, "pooling": Mean, **options})
