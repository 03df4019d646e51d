import numpy as np
import pytest
import torch

from speakerlab.augment.chunk_dropout import ChunkDropout


def drawn_by(augmentation, count, samples):
    items = [augmentation.draw(np.random.default_rng(seed), samples) for seed in range(count)]
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def test_chunks_are_silent_and_the_rest_is_untouched():
    augmentation = ChunkDropout([1, 5], [0.01, 0.02])
    drawn = drawn_by(augmentation, 50, 4000)
    x = torch.rand(50, 4000, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = x.clone()
    for item, starts, ends in zip(expected, drawn["start"].int(), drawn["end"].int(), strict=True):
        for start, end in zip(starts, ends, strict=True):
            item[start:end] = 0
    assert torch.equal(augmentation.apply(x, drawn), expected)


def test_numbers_and_widths_follow_the_arguments_and_chunks_reach_both_ends():
    augmentation = ChunkDropout([2, 4], [0.01, 0.02], probability=0.5)
    drawn = drawn_by(augmentation, 3000, 1000)
    widths = drawn["end"] - drawn["start"]
    numbers = (widths > 0).sum(dim=1)
    assert sorted(numbers.unique().tolist()) == [0, 2, 3, 4]
    assert 1350 < (numbers == 0).sum() < 1650
    widths = widths[widths > 0]
    assert widths.min() == 160 and widths.max() == 320 and abs(widths.mean() - 240) < 3
    covered = 1 - augmentation.apply(torch.ones(3000, 1000), drawn).mean(dim=0)
    assert covered.min() > 0 and abs(covered[:500].mean() / covered[500:].mean() - 1) < 0.1


def test_chunks_longer_than_the_item_silence_it():
    augmentation = ChunkDropout([1, 1], [1.0, 1.0])
    assert not augmentation.apply(torch.ones(3, 100), drawn_by(augmentation, 3, 100)).any()


@pytest.mark.parametrize("argument", [{"chunks": [-1, 2]}, {"seconds": [0.2, 0.1]}, {"probability": -1}])
def test_bad_arguments_are_named(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        ChunkDropout(**({"chunks": [1, 2], "seconds": [0.1, 0.2]} | argument))
