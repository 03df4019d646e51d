from functools import partial

import pytest
import torch
from batches import calibrated, padded, utterances

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.layers.res2_stages import Res2Block2d, Res2Stages, clipped_relu

SIZES = {"in_channels": 1, "channels": 8, "depths": (1, 2, 1, 2), "base_width": 24, "scale": 2, "expansion": 2}


class Unmasked(torch.nn.Module):
    """A block as a module of one tensor, to be calibrated."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x, None)


def block(in_channels: int, stride: int, fused: bool) -> Res2Block2d:
    torch.manual_seed(0)
    made = Res2Block2d(in_channels, 12, width=3, scale=4, stride=stride, fused=fused)
    return calibrated(Unmasked(made), 2.0 * torch.randn(6, in_channels, 5, 9) + 0.5).block


def test_clipped_relu():
    assert clipped_relu(torch.tensor([-3.0, 0.0, 7.0, 20.0, 25.0])).tolist() == [0.0, 0.0, 7.0, 20.0, 20.0]


@pytest.mark.parametrize("in_channels, stride", [(12, 1), (6, 1), (12, 2)])
@pytest.mark.parametrize("fused", [False, True])
@torch.inference_mode()
def test_block_spelled_out(in_channels, stride, fused):
    """y1 = K1(x1), yi = Ki(join(y(i-1), xi)); only a block that keeps its shape has a bare skip."""
    made = block(in_channels, stride, fused)
    (x,) = utterances((2, in_channels, 5, 9))

    def clipped(values):
        return values.clamp(0.0, 20.0)

    def layer(values, part, stride=1):
        weight = part.conv.weight
        return part.norm(torch.nn.functional.conv2d(values, weight, stride=stride, padding=weight.shape[-1] // 2))

    hidden = clipped(layer(x, made.expand, stride))
    outputs = []
    for i in range(4):
        group = hidden[:, 3 * i : 3 * i + 3]
        if i > 0:
            group = made.fusions[i - 1](outputs[-1], group) if fused else outputs[-1] + group
        outputs.append(clipped(layer(group, made.layers[i])))
    skip = x if (in_channels, stride) == (12, 1) else layer(x, made.shortcut, stride)
    expected = clipped(layer(torch.cat(outputs, dim=1), made.merge) + skip)
    found, mask = made(x, None)
    assert mask is None
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_padded_batch_is_each_utterance_alone_at_every_stage():
    torch.manual_seed(0)
    stages = Res2Stages(**SIZES)
    lengths = [19, 8, 1]
    items = utterances(*((1, 11, length) for length in lengths))
    mask = frame_mask(torch.tensor(lengths), 24)
    together = stages.eval()(padded(items, 24, float("nan"), axis=2), mask)
    for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
        for stage, (alone, none) in enumerate(stages(item[None], None)):
            x, stage_mask = together[stage]
            frames = -(-length // 2**stage)
            assert none is None and stage_mask[row].sum() == frames
            assert alone.shape == (1, 16 * 2**stage, -(-11 // 2**stage), frames)
            torch.testing.assert_close(x[row, :, :, :frames], alone[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_each_stage_reads_the_one_before():
    torch.manual_seed(0)
    stages = Res2Stages(**SIZES).eval()
    (x,) = utterances((2, 1, 11, 9))
    outputs = stages(x, None)
    x = stages.stem.norm(torch.nn.functional.conv2d(x, stages.stem.conv.weight, padding=1)).relu()
    for blocks, (found, _) in zip(stages.stages, outputs, strict=True):
        for block in blocks:
            x, _ = block(x, None)
        torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-4)


def test_widths_depths_and_fusion():
    stages = Res2Stages(**SIZES)
    assert [len(blocks) for blocks in stages.stages] == [1, 2, 1, 2]
    assert [blocks[0].width for blocks in stages.stages] == [3, 6, 12, 24]  # 24 / 64 of 8, 16, 32, 64
    assert [blocks[0].fusions is not None for blocks in stages.stages] == [False, False, True, True]
    assert stages.out_channels == [16, 32, 64, 128] and stages.out_dim(11) == 2
    assert Res2Stages(**SIZES | {"base_width": 26}).stages[0][0].width == 3  # 3.25, rounded down


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"scale": 0}, "scale=0 must be at least 1"),
        ({"base_width": 7}, "base_width=7 must be at least 64 / channels, here 8"),
        ({"depths": (1, 1, 1)}, r"depths=\[1, 1, 1\] must be 4 numbers of at least 1"),
        ({"depths": (1, 1, 0, 1)}, r"depths=\[1, 1, 0, 1\] must be 4 numbers"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        partial(Res2Stages, **SIZES | wrong)()
