import pytest
import torch

from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.resnet_image import ResNetImage

SIZES = {
    "resnet18": ("basic", (2, 2, 2, 2), 11_689_512, 512),
    "resnet34": ("basic", (3, 4, 6, 3), 21_797_672, 512),
    "resnet50": ("bottleneck", (3, 4, 6, 3), 25_557_032, 2048),
}


def tiny(channels: int = 3, pooling=Mean) -> ResNetImage:
    """Kilobytes, in evaluation mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = ResNetImage(45, pooling, channels, "basic", (1, 1, 1, 1), width=4, embed_dim=6)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of the batches seen, in full
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    encoder(2.0 * torch.randn(8, channels, 150, 45) + 0.5)
    return encoder.eval()


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name):
    """With the paper's 1000 classes in the place of the embedding, their offsets in that of the norm's two numbers."""
    block, depths, parameters, _ = SIZES[name]
    with torch.device("meta"):
        encoder = ResNetImage(224, Mean, 3, block, depths, embed_dim=1000)
    assert sum(parameter.numel() for parameter in encoder.parameters()) - 1000 == parameters


@pytest.mark.parametrize("name", SIZES)
@torch.inference_mode()
def test_same_as_torchvision(name):
    """Its weights give what its classifier sees."""
    models = pytest.importorskip("torchvision.models")
    block, depths, _, channels = SIZES[name]
    torch.manual_seed(0)
    theirs = getattr(models, name)()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.2, 0.6)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    theirs.fc = torch.nn.Identity()
    ours = ResNetImage(224, Mean, 3, block, depths)
    # In both, the layers are made in the order in which they are used, the shortcut last in its block.
    names = [name for name in ours.state_dict() if not name.startswith(("project", "embedding_norm"))]
    ours.load_state_dict(dict(zip(names, theirs.state_dict().values(), strict=True)), strict=False)
    # Ours takes (channels, height, width) pictures whose width it treats as the frequency axis of its planes.
    for part in ours.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.copy_(part.weight.transpose(2, 3).clone())
    pictures = torch.randn(2, 3, 96, 64)
    expected = theirs.eval()(pictures)
    found = ours.eval().pooling(*ours.frame_level(pictures, None))
    assert found.shape == (2, channels)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", [Mean, Statistics])
@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(fill, pooling):
    """For features of any length too; a picture of fixed size has no padding."""
    encoder, lengths = tiny(pooling=pooling), [150, 1, 67, 96, 3]
    generator = torch.Generator().manual_seed(1)
    batch = 2.0 * torch.randn(len(lengths), 3, 170, 45, generator=generator) + 0.5
    expected = torch.cat([encoder(row[None, :, :length]) for row, length in zip(batch, lengths, strict=True)])
    for row, length in zip(batch, lengths, strict=True):
        row[:, length:] = fill
    torch.testing.assert_close(encoder(batch, torch.tensor(lengths)), expected, atol=1e-4, rtol=1e-4)
    assert torch.pdist(expected).min() > 0.01  # or else everything is the same anyway


@torch.inference_mode()
def test_one_plane_needs_no_axis():
    encoder, plane = tiny(channels=1), torch.randn(2, 80, 45)
    assert torch.equal(encoder(plane), encoder(plane[:, None]))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"feature_channels": 0}, "feature_channels=0 must be at least 1"),
        ({"block": "wide"}, "block=wide must be one of basic, bottleneck"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        ResNetImage(224, Mean, **wrong)
