import pytest
import torch
from torch.nn.functional import conv2d, gelu

from speakerlab.encoders.layers.grouped2d import BLOCKS, FrequencyGate, groups_of
from speakerlab.encoders.layers.masking import frame_mask

CHANNELS, DIM, FRAMES = 6, 5, 9


def planes(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(CHANNELS, DIM, length, generator=generator) + 0.3 for length in lengths]


def made(block: str, group_width: int = 2) -> torch.nn.Module:
    """In evaluation mode, its batch norms other than the identity."""
    torch.manual_seed(0)
    layer = BLOCKS[block](CHANNELS, DIM, group_width)
    for module in layer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values)
    return layer.eval()


def test_number_of_groups():
    assert [groups_of(channels, 8) for channels in (64, 24, 8, 12, 4)] == [8, 3, 1, 1, 1]


def naive_groups(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """3x3 convolution of `(1, channels, dim, frames)`, pair of channels by pair of channels."""
    pieces = [conv2d(x[:, i : i + 2], weight[i : i + 2], padding=1) for i in range(0, CHANNELS, 2)]
    y = torch.cat(pieces, dim=1)
    return y if bias is None else y + bias.view(1, -1, 1, 1)


@torch.inference_mode()
def test_convnext_spelled_out():
    layer, (x,) = made("convnext"), planes(FRAMES)
    y = gelu(layer.norm(naive_groups(x[None], layer.spatial.weight, layer.spatial.bias)))
    y = torch.einsum("oi,bift->boft", layer.mix.weight[:, :, 0, 0], y) + layer.mix.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(layer(x[None], None), x + y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", ["basic", "basic_gated"])
@torch.inference_mode()
def test_basic_spelled_out(block):
    layer, (x,) = made(block), planes(FRAMES)

    def mixed(y, mix):
        return torch.einsum("oi,bift->boft", mix.weight[:, :, 0, 0], y) + mix.bias.view(1, -1, 1, 1)

    assert layer.spatial1.bias is None and layer.spatial2.bias is None
    y = layer.norm1(mixed(naive_groups(x[None], layer.spatial1.weight, None), layer.mix1).clamp(min=0))
    y = layer.norm2(mixed(naive_groups(y, layer.spatial2.weight, None), layer.mix2))
    if block == "basic_gated":
        gate = layer.gate
        assert gate.squeeze.out_features == 32  # as many as channels, but 32 to 64
        means = torch.stack([y[0, :, frequency].mean() for frequency in range(DIM)])
        hidden = (gate.squeeze.weight @ means + gate.squeeze.bias).clamp(min=0)
        scales = 1 / (1 + (-(gate.excite.weight @ hidden + gate.excite.bias)).exp())
        y = y * scales.view(1, 1, DIM, 1)
    torch.testing.assert_close(layer(x[None], None), (x + y).clamp(min=0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", list(BLOCKS))
@torch.inference_mode()
def test_padding_is_not_seen(block):
    layer, lengths = made(block), [9, 1, 4]
    items = planes(*lengths)
    batch = torch.full((3, CHANNELS, DIM, 12), 7.0)
    for row, item in zip(batch, items, strict=True):
        row[..., : item.shape[-1]] = item
    together = layer(batch, frame_mask(torch.tensor(lengths), 12))
    for row, item in zip(together, items, strict=True):
        torch.testing.assert_close(row[..., : item.shape[-1]], layer(item[None], None)[0], atol=1e-5, rtol=1e-5)


def test_gates_of_long_audio_do_not_overflow():
    gate = FrequencyGate(DIM, 32)
    x = torch.full((1, CHANNELS, DIM, 3000), 3e3, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16), torch.inference_mode():
        assert gate(x, torch.ones(1, 1, 3000, dtype=torch.bool)).isfinite().all()
