import pytest
import torch

from speakerlab.encoders.layers.masking import apply_mask, frame_mask, masked_mean

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
