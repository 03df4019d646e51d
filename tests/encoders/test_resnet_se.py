"""Sizes and settings; embeddings are compared with the peers' networks in tests/inference/peers."""

from functools import partial

import pytest
import torch

from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.resnet_se import ResNetSE

TINY = {"depths": (1, 2, 1, 1), "widths": (4, 6, 8, 8), "se_reduction": 2, "embed_dim": 5}
SPEECHBRAIN = {"stem": "norm_relu", "block": "preactivated", "strides": (1, 2, 2, 2), "se_stages": 2, "norms": True}


@pytest.mark.parametrize(
    "settings, pooled, frames",
    [
        ({}, 8, 4),
        ({"average_dims": False}, 8 * 2, 4),  # 13 mels: 7 behind the stem, 4 and 2 behind the stages
        ({"stem": "relu_norm", "strides": (1, 2, 2, 2), "average_dims": False}, 8 * 2, 2),
        (SPEECHBRAIN | {"average_dims": False}, 8 * 2, 2),
    ],
)
def test_what_is_pooled(settings, pooled, frames):
    encoder = ResNetSE(13, Mean, **TINY | settings).eval()
    x, mask = encoder.frame_level(torch.randn(2, 15, 13), torch.ones(2, 1, 15, dtype=torch.bool))
    assert x.shape == (2, pooled, frames) and mask.shape == (2, 1, frames)
    assert encoder(torch.randn(2, 15, 13)).shape == (2, 5)


def test_published_parameters():
    """1.4 M of Fast ResNet-34 (Chung et al., Interspeech 2020), with 512 values as its README has them."""
    with torch.device("meta"):
        encoder = ResNetSE(40, Mean)
    convolutions = [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 1 + 2 * 16 + 3  # three are shortcuts: the last stage halves nothing, but widens
    assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 1) == 1.4


def test_gates_are_in_the_first_stages():
    encoder = ResNetSE(13, Mean, **TINY | SPEECHBRAIN)
    assert [block.gate is not None for block in encoder.blocks] == [True, True, True, False, False]


@pytest.mark.parametrize("settings", [{}, {"stem": "relu_norm"}, SPEECHBRAIN])
def test_padding_changes_nothing(settings):
    torch.manual_seed(0)
    pooling = partial(AttentiveStatistics, bottleneck=4, global_context=False, hidden="relu_norm")
    encoder = ResNetSE(13, pooling, **TINY | settings)
    encoder.train()(torch.randn(8, 40, 13))
    encoder.eval()
    items = torch.randn(3, 33, 13)
    lengths = torch.tensor([33, 8, 19])
    with torch.inference_mode():
        together = encoder(items, lengths)
        for item, length, found in zip(items, lengths, together, strict=True):
            torch.testing.assert_close(encoder(item[None, :length])[0], found, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"stem": "slow"}, "stem=slow must be one of fast, relu_norm, norm_relu"),
        ({"block": "basic"}, "block=basic must be one of relu_norm, preactivated"),
        ({"widths": (8, 8, 8)}, r"widths=\[8, 8, 8\] must be 4 numbers"),
        ({"depths": (1, 0, 1, 1)}, r"depths=\[1, 0, 1, 1\] must be 4 numbers of at least 1"),
        ({"se_stages": 5}, "se_stages=5 must lie in 0 to 4"),
        ({"se_reduction": 0}, "se_reduction=0 must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        ResNetSE(13, Mean, **settings)
