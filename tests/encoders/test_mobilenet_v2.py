import pytest
import torch

from speakerlab.encoders.mobilenet_v2 import MobileNetV2
from speakerlab.encoders.pooling.mean import Mean

DIM = 40
BELOW_THE_CLASSIFIER = 2_223_872  # torchvision's, with three input channels


def fitted(channels: int = 1) -> MobileNetV2:
    """In evaluation mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = MobileNetV2(DIM, Mean, channels, embed_dim=6)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of the batches seen, in full
    with torch.no_grad():
        encoder(2.0 * torch.randn(8, channels, 200, DIM) + 0.5)
    return encoder.eval()


def table_2(in_channels: int) -> int:
    """Parameters from the paper's table alone: a convolution's weights and its batch norm's two vectors."""
    total, channels = 9 * in_channels * 32 + 2 * 32, 32
    rows = ["1 16 1", "6 24 2", "6 32 3", "6 64 4", "6 96 3", "6 160 3", "6 320 1"]  # expansion, channels, blocks
    for expansion, out_channels, blocks in (map(int, row.split()) for row in rows):
        for _ in range(blocks):
            hidden = expansion * channels
            total += (channels * hidden + 2 * hidden if expansion > 1 else 0) + 9 * hidden + 2 * hidden
            total += hidden * out_channels + 2 * out_channels
            channels = out_channels
    return total + 320 * 1280 + 2 * 1280


ABOVE = ("project", "embedding_norm")  # what stands in the classifier's place


@pytest.mark.parametrize("channels", [1, 3])
def test_published_size(channels):
    with torch.device("meta"):
        encoder = MobileNetV2(80, Mean, channels, embed_dim=256)
    assert encoder.pooling.out_dim == 1280 * 3  # 80 -> 40 -> 20 -> 10 -> 5 -> 3
    below = [value.numel() for name, value in encoder.named_parameters() if not name.startswith(ABOVE)]
    assert sum(below) == table_2(channels)
    assert table_2(3) == BELOW_THE_CLASSIFIER


@torch.inference_mode()
def test_same_as_torchvision():
    """Its weights give its output below the classifier."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = models.mobilenet_v2().features
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            torch.nn.init.uniform_(module.weight, 0.5, 4.0)  # so that some values are cut at 6
    pictures = 2.0 * torch.randn(4, 3, 96, 64) + 0.5
    theirs(pictures)
    theirs.eval()
    ours = MobileNetV2(64, Mean, 3).eval()
    # In both, the layers are made in the order in which they are used.
    names = [name for name in ours.state_dict() if not name.startswith(ABOVE)]
    ours.load_state_dict(dict(zip(names, theirs.state_dict().values(), strict=True)), strict=False)
    for part in ours.modules():
        if isinstance(part, torch.nn.Conv2d):  # ours has frequency first and time last
            part.weight.copy_(part.weight.transpose(2, 3).clone())
    found, _ = ours.frame_level(pictures, None)
    expected = theirs(pictures).transpose(2, 3).flatten(1, 2)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("frames", [150, 201])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(frames, fill):
    encoder, lengths = fitted(), [150, 1, 65, 96, 34]
    batch = 2.0 * torch.randn(len(lengths), frames, DIM, generator=torch.Generator().manual_seed(1)) + 0.5
    expected = torch.cat([encoder(row[None, :length]) for row, length in zip(batch, lengths, strict=True)])
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = fill
    torch.testing.assert_close(encoder(batch, torch.tensor(lengths)), expected, atol=1e-4, rtol=1e-4)
    assert torch.pdist(expected).min() > 0.01  # or else everything is the same anyway


@pytest.mark.parametrize("name", ["feature_dim", "feature_channels", "embed_dim"])
def test_refuses(name):
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        MobileNetV2(**{"feature_dim": DIM, "pooling": Mean, name: 0})
