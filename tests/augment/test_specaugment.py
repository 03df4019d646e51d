import pickle

import numpy as np
import pytest
import torch

from speakerlab.augment.specaugment import SpecAugment, block_mask

FRAMES, DIM = 50, 24


def make(probability=1.0):
    return SpecAugment(2, 9, 2, 6, probability)


def draw_batch(augmentation, seeds):
    drawn = [augmentation.draw(np.random.default_rng(seed), 16000) for seed in seeds]
    return {key: torch.stack([torch.from_numpy(item[key]) for item in drawn]) for key in drawn[0]}


def features(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 3.0


def naive(x, drawn, max_frames, max_bins):
    """Item by item, block by block, in float64 integers."""
    x = x.clone()
    for item, time, freq in zip(x, drawn["time"].double(), drawn["freq"].double(), strict=True):
        mean = item.mean()
        for width, start in time.tolist():
            width = min(int(width * (max_frames + 1)), item.shape[0])
            start = int(start * (item.shape[0] - width + 1))
            item[start : start + width] = mean
        for width, start in freq.tolist():
            width = min(int(width * (max_bins + 1)), item.shape[1])
            start = int(start * (item.shape[1] - width + 1))
            item[:, start : start + width] = mean
    return x


@pytest.mark.parametrize("frames", [50, 5, 1])
def test_it_matches_a_naive_loop_even_on_inputs_shorter_than_a_block(frames):
    x, drawn = features(64, frames, DIM), draw_batch(make(), range(64))
    torch.testing.assert_close(make().apply(x, drawn), naive(x, drawn, 9, 6))


def test_masks_differ_between_items():
    masked = make().apply(torch.zeros(32, FRAMES, DIM) + features(1, FRAMES, DIM), draw_batch(make(), range(32)))
    assert len(masked.unique(dim=0)) == 32


def test_widths_are_uniform_up_to_the_limit_and_blocks_reach_both_ends():
    uniforms = torch.rand(20000, 1, 2, generator=torch.Generator().manual_seed(0))
    mask = block_mask(uniforms, 10, 4)
    share = torch.bincount(mask.sum(dim=1), minlength=5) / 20000
    torch.testing.assert_close(share, torch.full((5,), 0.2), atol=0.015, rtol=0)
    covered = mask.float().mean(dim=0)
    torch.testing.assert_close(covered, covered.flip(0), atol=0.015, rtol=0)
    assert covered.min() > 0


@pytest.mark.parametrize("size", [1, 3, 7, 200, 1001])
def test_the_largest_uniform_stays_in_bounds(size):
    largest = torch.full((1, 1, 2), 1 - 2**-24)
    for max_width in (0, 2, 10, 100):
        assert block_mask(largest, size, max_width).sum() == min(max_width, size)
        assert block_mask(largest, size, max_width)[0, -1] == (max_width > 0)


def test_channels_share_the_mask_and_have_their_own_mean():
    x, drawn = features(3, 2, FRAMES, DIM), draw_batch(make(), range(3))
    x[:, 1] *= 10
    masked = make().apply(x, drawn)
    assert masked.shape == x.shape
    for channel in range(2):
        torch.testing.assert_close(masked[:, channel], make().apply(x[:, channel], drawn))


def test_mean_normalised_features_are_filled_with_zero():
    x = features(8, FRAMES, DIM)
    x = x - x.mean(dim=1, keepdim=True)
    masked = make().apply(x, draw_batch(make(), range(8)))
    changed = masked != x
    assert changed.any() and masked[changed].abs().max() < 1e-6


def test_spared_items_are_bit_identical():
    x, drawn = features(100, FRAMES, DIM), draw_batch(make(0.6), range(100))
    same = (make().apply(x, drawn) == x).flatten(1).all(dim=1)
    spared = (drawn["time"] == 0).flatten(1).all(dim=1)
    assert 20 < spared.sum() < 60 and same[spared].all()
    assert torch.equal(make().apply(x, draw_batch(make(0.0), range(100))), x)


def test_no_masks_change_nothing():
    none = SpecAugment(time_masks=0, freq_masks=0)
    x = features(2, FRAMES, DIM)
    assert torch.equal(none.apply(x, draw_batch(none, range(2))), x)


def test_draws_repeat_for_a_seed_and_differ_between_seeds():
    first, again, other = (draw_batch(make(), [seed]) for seed in (1, 1, 2))
    for key in first:
        assert first[key].dtype == torch.float32
        assert torch.equal(first[key], again[key]) and not torch.equal(first[key], other[key])


def test_items_do_not_depend_on_batch_mates():
    x, drawn = features(5, FRAMES, DIM), draw_batch(make(), range(5))
    together = make().apply(x, drawn)
    for i in range(5):
        alone = make().apply(x[i : i + 1], {key: value[i : i + 1] for key, value in drawn.items()})
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


def test_autocast_changes_nothing():
    x, drawn = features(2, FRAMES, DIM), draw_batch(make(), range(2))
    plain = make().apply(x, drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(make().apply(x, drawn), plain)


def test_a_pickled_copy_draws_the_same():
    copy = pickle.loads(pickle.dumps(make()))
    assert torch.equal(draw_batch(copy, [3])["time"], draw_batch(make(), [3])["time"])


@pytest.mark.parametrize("name", ["time_masks", "max_time_frames", "freq_masks", "max_freq_bins"])
@pytest.mark.parametrize("value", [-1, 1.5])
def test_bad_counts_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        SpecAugment(**{name: value})


def test_a_bad_probability_is_named():
    with pytest.raises(ValueError, match="probability=2"):
        SpecAugment(probability=2)
