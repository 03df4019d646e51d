import pytest
import torch
from torch.nn import functional as F

from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.resnet import ResNet

DIM = 13  # odd: ceil at every halving
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DEPTHS |= {221: (6, 16, 48, 3), 293: (10, 20, 64, 3)}


def tiny(block: str = "basic", se: bool = False, channels: int = 1, seed: int = 0) -> ResNet:
    """Kilobytes, in evaluation mode, with residuals as large as the rest and batch norms that have seen data."""
    torch.manual_seed(seed)
    encoder = ResNet(DIM, Statistics, channels, block, (1, 2, 1, 1), width=4, embed_dim=6, se=se, se_reduction=2)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of the batches seen, in full
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    encoder(2.0 * torch.randn(8, channels, 40, DIM) + 0.5)
    return encoder.eval()


def features(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [2.0 * torch.randn(length, DIM, generator=generator) + 0.5 for length in lengths]


def padded(utterances: list[torch.Tensor], frames: int, fill: float = 0.0) -> torch.Tensor:
    batch = torch.full((len(utterances), frames, DIM), fill)
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    return batch


@pytest.mark.parametrize("depth, millions", [(34, 6.63), (221, 23.79), (293, 28.62)])
def test_published_sizes(depth, millions):
    block = "basic" if depth < 50 else "bottleneck"
    with torch.device("meta"):
        encoder = ResNet(80, Statistics, block=block, depths=DEPTHS[depth])
    # WeSpeaker's table cuts digits off: 28,626,016 is 28.62 there.
    assert int(sum(parameter.numel() for parameter in encoder.parameters()) / 1e4) / 100 == millions


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_name_counts_layers(depth):
    """Convolutions on the main path, and the linear one: what the number in a ResNet's name says."""
    with torch.device("meta"):
        encoder = ResNet(80, Statistics, block="basic" if depth < 50 else "bottleneck", depths=DEPTHS[depth])
    layers = [name for name, module in encoder.named_modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len([name for name in layers if "shortcut" not in name]) == depth


def plain(x, convolution, stride=1):
    """Convolution and batch norm, written out."""
    weight, norm = convolution.conv.weight, convolution.norm
    y = F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2)
    mean, variance = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    return norm.weight[:, None, None] * (y - mean) / (variance + 1e-5).sqrt() + norm.bias[:, None, None]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("se", [True, False])
@torch.inference_mode()
def test_blocks_are_the_papers(block, se):
    """Table 1 and figure 5 of He et al. and figure 3 of Hu et al., spelled out with the encoder's own weights."""
    encoder, (utterance,) = tiny(block, se), features(29)
    x = plain(utterance.T[None, None], encoder.stem).relu()
    for part, stride in zip(encoder.stages.blocks, (1, 2, 1, 2, 2), strict=True):
        if block == "basic":
            y = plain(plain(x, part.conv1, stride).relu(), part.conv2)
        else:
            y = plain(plain(plain(x, part.conv1).relu(), part.conv2, stride).relu(), part.conv3)
        if se:
            hidden = F.linear(y.mean(dim=(2, 3)), part.gate.squeeze.weight, part.gate.squeeze.bias).relu()
            y = y * F.linear(hidden, part.gate.excite.weight, part.gate.excite.bias).sigmoid()[:, :, None, None]
        x = (y + (x if x.shape == y.shape else plain(x, part.shortcut, stride))).relu()
    assert x.shape == (1, 32 if block == "basic" else 128, 2, 4)  # 13 -> 7 -> 4 -> 2 and 29 -> 15 -> 8 -> 4
    frames = x.reshape(1, -1, 4)
    deviation = frames.var(dim=-1, correction=0).clamp(min=1e-7).sqrt()
    expected = F.linear(
        torch.cat([frames.mean(dim=-1), deviation], dim=1), encoder.project.weight, encoder.project.bias
    )
    torch.testing.assert_close(encoder(utterance[None]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("block, se", [("basic", False), ("basic", True), ("bottleneck", False), ("bottleneck", True)])
@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("frames", [33, 60])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(block, se, frames, fill):
    encoder, lengths = tiny(block, se), [33, 1, 17, 32, 24, 2]
    utterances = features(*lengths)
    together = encoder(padded(utterances, frames, fill), torch.tensor(lengths))
    alone = torch.cat([encoder(utterance[None]) for utterance in utterances])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_every_parameter_learns(block, masked):
    encoder = tiny(block, se=True, seed=1).train()  # some seeds draw gates whose ReLUs are all at 0
    embeddings = encoder(padded(features(40, 31, 19), 40), torch.tensor([40, 31, 19]) if masked else None)
    (embeddings * torch.randn(3, 6, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 1e-9, name


@torch.inference_mode()
def test_channels_of_features():
    """One plane with and without its axis is the same; of three, each counts."""
    batch = torch.stack(features(25, 25))
    assert torch.equal(tiny()(batch), tiny()(batch[:, None]))
    encoder, planes = tiny(channels=3), torch.randn(2, 3, 25, DIM, generator=torch.Generator().manual_seed(3))
    assert (encoder(planes) - encoder(planes.flip(1))).abs().max() > 1e-3


def test_a_fresh_deep_network_keeps_rounding_errors_small():
    """As large as bfloat16's, through the 97 blocks of ResNet-293; with residuals as large as the rest it is lost."""
    torch.manual_seed(0)
    encoder = ResNet(DIM, Statistics, block="bottleneck", depths=DEPTHS[293], width=4, embed_dim=32)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    batch = torch.randn(4, 64, DIM)
    with torch.no_grad():
        encoder(batch)
        exact = encoder.eval()(batch)
        moved = encoder(batch + 2**-9 * torch.randn_like(batch))
    assert (moved - exact).norm() < 0.5 * (exact - exact.mean(dim=0)).norm()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"width": 0}, "width=0 must be at least 1"),
        ({"se": True, "se_reduction": 0}, "se_reduction=0 must be at least 1"),
        ({"block": "dense"}, "block=dense must be one of basic, bottleneck"),
        ({"depths": (3, 4, 6)}, r"depths=\[3, 4, 6\] must be 4 numbers of at least 1"),
        ({"depths": (3, 0, 6, 3)}, r"depths=\[3, 0, 6, 3\] must be 4 numbers of at least 1"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        ResNet(DIM, Statistics, **wrong)
