import numpy as np
import pytest
import torch

from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.xvector import XVector

DIM = 7
PAPER = [(-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,)]  # frames that each layer sees, table 1


def tiny(segment7: bool = False) -> XVector:
    """In evaluation mode, its batch norms with statistics of data (fresh ones would be the identity)."""
    torch.manual_seed(0)
    encoder = XVector(DIM, Statistics, channels=6, pooled_channels=9, embed_dim=5, segment7=segment7)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # the statistics become those of the batches seen, in full
    encoder(2.0 * torch.randn(8, 40, DIM) + 0.5)
    return encoder.eval()


def features(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [2.0 * torch.randn(length, DIM, generator=generator) + 0.5 for length in lengths]


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def norm(x: np.ndarray, layer: torch.nn.BatchNorm1d) -> np.ndarray:
    return (x - array(layer.running_mean)) / np.sqrt(array(layer.running_var) + layer.eps)


def frame_level(encoder: XVector, utterance: torch.Tensor) -> np.ndarray:
    """As the paper puts it: frames spliced into one vector, an affine layer, ReLU; then a norm. `(frames, 9)`."""
    x = array(utterance)
    for layer, context in zip(encoder.layers, PAPER, strict=True):
        outside = np.zeros_like(x[0])
        spliced = [
            np.concatenate([x[t + c] if 0 <= t + c < len(x) else outside for c in context]) for t in range(len(x))
        ]
        matrix = array(layer.conv.weight).transpose(0, 2, 1).reshape(len(layer.conv.weight), -1)  # context by context
        x = norm(np.maximum(np.stack(spliced) @ matrix.T + array(layer.conv.bias), 0.0), layer.norm)
    return x


@pytest.mark.parametrize(
    "dim, segment7, parameters",
    [
        (24, False, 4_204_508),  # the paper, without segment7 and softmax: 4.2 M
        (80, False, 4_347_868),
        (80, True, 4_610_524),  # WeSpeaker: 4.610 M
    ],
)
def test_published_sizes(dim, segment7, parameters):
    with torch.device("meta"):
        encoder = XVector(dim, Statistics, segment7=segment7)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.embed_dim == 512


@pytest.mark.parametrize("frames", [30, 3])
@torch.inference_mode()
def test_layers_are_the_papers(frames):
    encoder, (utterance,) = tiny(), features(frames)
    x = frame_level(encoder, utterance)
    found = encoder.frame_level(utterance[None], None)[0].T
    np.testing.assert_allclose(array(found), x, atol=1e-5, rtol=1e-5)
    deviation = np.sqrt(np.maximum(x.var(axis=0), 1e-7))  # the floor of the pooling
    pooled = np.concatenate([x.mean(axis=0), deviation])
    expected = array(encoder.segment6.weight) @ pooled + array(encoder.segment6.bias)  # no nonlinearity
    np.testing.assert_allclose(array(encoder(utterance[None])[0]), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_segment7_comes_after_relu_and_norm():
    encoder, batch = tiny(segment7=True), torch.stack(features(20, 20))
    segment6 = array(encoder.segment6(encoder.pooling(encoder.frame_level(batch, None))))
    assert (segment6 < 0).any()
    _, norm6, affine = encoder.segment7
    expected = norm(np.maximum(segment6, 0.0), norm6) @ array(affine.weight).T + array(affine.bias)
    np.testing.assert_allclose(array(encoder(batch)), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_frame_sees_seven_on_either_side():
    encoder, (utterance,) = tiny(), features(40)
    changed = utterance.clone()
    changed[20] += 3.0
    difference = encoder.frame_level(changed[None], None) - encoder.frame_level(utterance[None], None)
    seen = difference.abs().amax(dim=(0, 1)).nonzero().flatten()
    assert (seen.min(), seen.max()) == (13, 27)


@pytest.mark.parametrize("fill", [50.0, float("nan")])
@pytest.mark.parametrize("segment7", [False, True])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(segment7, fill):
    encoder, lengths = tiny(segment7), [33, 1, 17, 32, 5, 2]
    utterances = features(*lengths)
    batch = torch.full((len(lengths), 37, DIM), fill)
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    together = encoder(batch, torch.tensor(lengths))
    alone = torch.cat([encoder(utterance[None]) for utterance in utterances])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert torch.pdist(alone).min() > 1e-2  # or else everything is the same anyway


@pytest.mark.parametrize("name", ["feature_dim", "channels", "pooled_channels", "embed_dim"])
def test_values_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        XVector(**{"feature_dim": DIM, "pooling": Statistics, name: 0})
