import numpy as np
import pytest
import torch

from speakerlab.encoders.layers.masking import (
    apply_mask,
    apply_mask_2d,
    frame_mask,
    masked_mean,
    reflect_ends,
    strided_mask,
)

LENGTHS = [5, 1, 3, 4]


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_frame_mask():
    mask = frame_mask(torch.tensor(LENGTHS), 5)
    assert mask.shape == (4, 1, 5) and mask.dtype == torch.bool
    assert mask[:, 0].tolist() == [[frame < length for frame in range(5)] for length in LENGTHS]


def test_apply_mask_zeroes_even_nan_and_leaves_the_rest():
    x = random(4, 3, 5)
    spoiled = x.clone()
    for item, length in zip(spoiled, LENGTHS, strict=True):
        item[:, length:] = torch.nan
    masked = apply_mask(spoiled, frame_mask(torch.tensor(LENGTHS), 5))
    for item, original, length in zip(masked, x, LENGTHS, strict=True):
        assert torch.equal(item[:, :length], original[:, :length])
        assert (item[:, length:] == 0).all()


def test_apply_mask_2d_is_apply_mask_on_every_row():
    x, mask = random(4, 3, 2, 5), frame_mask(torch.tensor(LENGTHS), 5)
    expected = torch.stack([apply_mask(x[:, :, row], mask) for row in range(2)], dim=2)
    assert torch.equal(apply_mask_2d(x, mask), expected)
    assert apply_mask_2d(x, None) is x


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("frames", [12, 13])
def test_strided_mask_counts_what_a_convolution_makes_of_each_item_alone(frames, stride, kernel):
    lengths = torch.arange(1, frames + 1)
    convolution = torch.nn.Conv1d(1, 1, kernel, stride, padding=kernel // 2)
    mask = strided_mask(frame_mask(lengths, frames), stride)
    assert mask.shape[-1] == convolution(torch.zeros(1, 1, frames)).shape[-1]
    for row, length in zip(mask[:, 0], lengths, strict=True):
        own = convolution(torch.zeros(1, 1, int(length))).shape[-1]
        assert row.tolist() == [True] * own + [False] * (len(row) - own)
    assert strided_mask(None, stride) is None


@pytest.mark.parametrize("masked", [True, False])
def test_masked_mean(masked):
    x = random(4, 3, 5)
    lengths = LENGTHS if masked else [5] * 4
    mean = masked_mean(x, frame_mask(torch.tensor(LENGTHS), 5) if masked else None)
    expected = torch.stack([item[:, :length].mean(dim=1) for item, length in zip(x, lengths, strict=True)])
    torch.testing.assert_close(mean, expected[..., None])


def test_without_a_mask_nothing_happens():
    x = random(2, 3, 4)
    assert apply_mask(x, None) is x
    planes = random(2, 3, 5, 4)
    assert apply_mask_2d(planes, None) is planes
    assert strided_mask(None, 2) is None


def test_apply_mask_2d_is_apply_mask_at_every_frequency():
    x, mask = random(4, 3, 2, 5), frame_mask(torch.tensor(LENGTHS), 5)
    x[0, :, :, 3:] = torch.nan  # within the first item, and to be seen there
    expected = torch.stack([apply_mask(x[:, :, row], mask) for row in range(2)], dim=2)
    torch.testing.assert_close(apply_mask_2d(x, mask), expected, equal_nan=True)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_strided_mask_has_the_lengths_of_each_utterance_alone(kernel, stride):
    convolution = torch.nn.Conv1d(1, 1, kernel, stride, padding=kernel // 2)
    lengths = list(range(1, 12))
    alone = [convolution(torch.zeros(1, 1, length)).shape[-1] for length in lengths]
    mask = strided_mask(frame_mask(torch.tensor(lengths), 11), stride)
    assert mask.shape[-1] == max(alone)
    assert torch.equal(mask, frame_mask(torch.tensor(alone), max(alone)))


@pytest.mark.parametrize("pad", [1, 4])
def test_reflected_ends_are_each_items_own(pad):
    lengths = [9, 5, 7]
    x = random(3, 2, 9)
    for item, length in zip(x, lengths, strict=True):
        item[:, length:] = torch.nan
    together = reflect_ends(x, frame_mask(torch.tensor(lengths), 9), pad)
    assert together.shape == (3, 2, 9 + 2 * pad) and together.isfinite().all()
    for item, original, length in zip(together, x, lengths, strict=True):
        image = np.pad(original[:, :length].numpy(), ((0, 0), (pad, pad)), mode="reflect")
        np.testing.assert_array_equal(item[:, : length + 2 * pad], image)
        np.testing.assert_array_equal(reflect_ends(original[None, :, :length], None, pad)[0], image)


def test_what_is_too_short_to_be_reflected_is_the_same_with_and_without_a_mask():
    x = random(1, 2, 3)
    alone = reflect_ends(x, None, 4)
    padded = torch.nn.functional.pad(x, (0, 2), value=torch.nan)
    assert torch.equal(reflect_ends(padded, frame_mask(torch.tensor([3]), 5), 4)[..., :11], alone)
