import pytest
import torch

from speakerlab.encoders.lstm import Lstm
from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.pooling.multi_query_multi_head import MultiQueryMultiHead


def attention(channels: int) -> MultiQueryMultiHead:
    return MultiQueryMultiHead(channels, heads=1, bottleneck=8, deviation=False)


def tiny(bidirectional: bool) -> Lstm:
    torch.manual_seed(0)
    return Lstm(7, attention, hidden=6, layers=2, bidirectional=bidirectional, embed_dim=5).eval()


@pytest.mark.parametrize("bidirectional, hidden", [(False, 512), (True, 256)])
def test_size(bidirectional, hidden):
    """Four gates, each with weights for the input and for the state and two biases."""
    with torch.device("meta"):
        encoder = Lstm(80, Mean, hidden=hidden, bidirectional=bidirectional)
    directions = 1 + bidirectional
    layers = [directions * 4 * hidden * (width + hidden + 2) for width in (80, 512, 512)]
    assert sum(p.numel() for p in encoder.parameters()) == sum(layers) + 512 * 256 + 3 * 256


@pytest.mark.parametrize("bidirectional", [False, True])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(bidirectional):
    encoder, lengths = tiny(bidirectional), [20, 1, 13]
    batch = torch.randn(3, 25, 7, generator=torch.Generator().manual_seed(1))
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = float("nan")
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(row[None, :length]) for row, length in zip(batch, lengths, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert torch.pdist(alone).min() > 1e-3


@torch.inference_mode()
def test_an_embedding_is_the_weighted_mean_of_states_projected():
    encoder, x = tiny(True), torch.randn(2, 9, 7, generator=torch.Generator().manual_seed(1))
    states = encoder.stack(x)  # (batch, frames, 12)
    pooling = encoder.pooling
    hidden = torch.tanh(states @ pooling.hidden.weight[:, :, 0].T + pooling.hidden.bias)
    weights = (hidden @ pooling.score.weight[:, :, 0].T + pooling.score.bias).softmax(dim=1)
    expected = (weights * states).sum(dim=1) @ encoder.project.weight.T + encoder.project.bias
    torch.testing.assert_close(encoder(x), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options, message", [({"embed_dim": 0}, "embed_dim=0"), ({"feature_dim": 0}, "feature_dim=0")])
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Lstm(**{"feature_dim": 7, "pooling": Mean, **options})
