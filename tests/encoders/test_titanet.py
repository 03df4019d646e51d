from functools import partial

import numpy as np
import pytest
import torch

from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.titanet import Block, SeparableConv, TitaNet

DIM = 7
CLASSIFIER = 16_681 * 192  # of the paper's training speakers; it has no bias


def with_statistics(module: torch.nn.Module, *inputs: torch.Tensor | None) -> torch.nn.Module:
    """In evaluation mode, with batch norms that have seen data and have random gains (fresh ones are the identity)."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.momentum = None  # the statistics become those of the batches seen, in full
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias)
    module.train()(*inputs)
    return module.eval()


def tiny() -> TitaNet:
    torch.manual_seed(0)
    pooling = partial(AttentiveStatistics, bottleneck=4)
    encoder = TitaNet(
        DIM, pooling, channels=6, kernels=(3, 5), repeats=2, pooled_channels=10, se_reduction=2, embed_dim=5
    )
    return with_statistics(encoder, 2.0 * torch.randn(8, 40, DIM) + 0.5)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def norm(x: np.ndarray, layer: torch.nn.BatchNorm1d) -> np.ndarray:
    """`(frames, channels)`."""
    scale = array(layer.weight) / np.sqrt(array(layer.running_var) + 1e-3)
    return (x - array(layer.running_mean)) * scale + array(layer.bias)


def separable(x: np.ndarray, layer: SeparableConv) -> np.ndarray:
    """`(frames, in) -> (frames, out)`, frame by frame."""
    taps, channels = array(layer.over_time.weight)[:, 0], array(layer.over_channels.weight)[:, :, 0]
    reach = taps.shape[1] // 2
    y = np.zeros_like(x)
    for t in range(len(x)):
        for tap in range(taps.shape[1]):
            if 0 <= t + tap - reach < len(x):
                y[t] += taps[:, tap] * x[t + tap - reach]
    return norm(y @ channels.T, layer.norm)


def naive(x: np.ndarray, block: Block) -> np.ndarray:
    """The paper's figure 1, for one utterance without dropout: `(frames, in) -> (frames, out)`."""
    y = separable(x, block.convs[0])
    for conv in list(block.convs)[1:]:
        y = separable(np.maximum(y, 0.0), conv)
    hidden = np.maximum(array(block.se.squeeze.weight) @ y.mean(axis=0), 0.0)
    y = y / (1.0 + np.exp(-array(block.se.excite.weight) @ hidden))
    if block.skip is not None:
        y = y + norm(x @ array(block.skip[0].weight)[:, :, 0].T, block.skip[1])
    return np.maximum(y, 0.0)


@pytest.mark.parametrize(
    "channels, parameters, published",
    [
        (256, 6_825_264, 10.0),  # of the authors' configuration; the module says what about the paper's 6.4
        (512, 10_220_336, 13.4),
        (1024, 22_122_288, 25.3),
    ],
)
def test_published_sizes(channels, parameters, published):
    with torch.device("meta"):
        encoder = TitaNet(80, AttentiveStatistics, channels=channels)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert round((parameters + CLASSIFIER) / 1e6, 1) == published
    assert encoder.embed_dim == 192


def test_what_the_smallest_has_with_a_narrower_end():
    with torch.device("meta"):
        encoder = TitaNet(80, AttentiveStatistics, channels=256, pooled_channels=1536)
    assert sum(parameter.numel() for parameter in encoder.parameters()) + CLASSIFIER == 6_478_320


@pytest.mark.parametrize("repeats, skip", [(3, True), (1, False)])
@torch.inference_mode()
def test_a_block_is_the_papers(repeats, skip):
    torch.manual_seed(0)
    block = Block(5, 8, kernel=7, repeats=repeats, se_reduction=4, skip=skip, dropout=0.1)
    with_statistics(block, torch.randn(8, 5, 30), None)
    x = torch.randn(1, 5, 20) + 0.5
    np.testing.assert_allclose(array(block(x, None)[0].T), naive(array(x[0].T), block), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_network_is_blocks_pooling_norm_and_projection():
    encoder = tiny()
    assert [(len(block.convs), block.convs[0].over_time.kernel_size) for block in encoder.blocks] == [
        (1, (3,)),
        (2, (3,)),
        (2, (5,)),
        (1, (1,)),
    ]
    assert [block.skip is not None for block in encoder.blocks] == [False, True, True, False]
    assert [block.dropout.p for block in encoder.blocks] == [0.0, 0.1, 0.1, 0.0]
    utterance = torch.randn(25, DIM, generator=torch.Generator().manual_seed(1))
    x = array(utterance)
    for block in encoder.blocks:
        x = naive(x, block)
    found = encoder.frame_level(utterance[None], None)
    np.testing.assert_allclose(array(found[0].T), x, atol=1e-4, rtol=1e-4)
    pooled, last = array(encoder.pooling(found)), encoder.pooling_norm
    normed = (pooled - array(last.running_mean)) / np.sqrt(array(last.running_var) + 1e-5) * array(last.weight)
    expected = (normed + array(last.bias)) @ array(encoder.project.weight).T + array(encoder.project.bias)
    np.testing.assert_allclose(array(encoder(utterance[None])), expected, atol=1e-4, rtol=1e-4)


def test_dropout_between_the_convolutions_and_after_the_block():
    torch.manual_seed(0)
    block = with_statistics(Block(6, 6, 3, 2, 2, skip=True, dropout=0.5), torch.randn(8, 6, 30), None)
    x = torch.randn(2, 6, 30)
    whole = block(x, None)
    block.dropout.train()
    zeros, kept = (block(x, None) == 0).float().mean(), (whole > 0).float().mean()
    assert zeros > 1 - 0.6 * kept
    dropped = []
    block.convs[1].register_forward_pre_hook(lambda module, inputs: dropped.append(inputs[0]))
    block(x, None)
    first = block.convs[0](x, None).relu()
    torch.testing.assert_close(dropped[0][dropped[0] != 0], 2 * first[dropped[0] != 0])
    assert 0.4 < (dropped[0] != 0)[first > 0].float().mean() < 0.6


@pytest.mark.parametrize("fill", [50.0, float("nan")])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(fill):
    encoder, lengths = tiny(), [33, 1, 17, 32, 5, 2]
    generator = torch.Generator().manual_seed(1)
    utterances = [2.0 * torch.randn(length, DIM, generator=generator) + 0.5 for length in lengths]
    batch = torch.full((len(lengths), 37, DIM), fill)
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(utterance[None]) for utterance in utterances])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 1e-2  # or else everything is the same anyway


@pytest.mark.parametrize(
    "options, message",
    [
        ({"channels": 0}, "channels=0 must be at least 1"),
        ({"repeats": 0}, "repeats=0 must be at least 1"),
        ({"kernels": ()}, r"kernels=\[\] must be one or more"),
        ({"kernels": (3, 4)}, r"kernels=\[3, 4\] must be one or more, each odd"),
        ({"se_reduction": 257}, "se_reduction=257 must lie in 1 to 256"),
        ({"dropout": 1.0}, "dropout=1.0 must lie in 0 to below 1"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TitaNet(**{"feature_dim": DIM, "pooling": AttentiveStatistics, **options})
