from collections import Counter

import numpy as np
import pytest

from speakerlab.data.batches import Items
from speakerlab.data.samplers.random import RandomSampler


def plain(count: int) -> Items:
    return Items(np.zeros(count, np.int64), np.ones(count))


def order(sampler: RandomSampler, count: int, seed: int = 1, epoch: int = 0) -> list[int]:
    return sampler.batches(plain(count), seed, epoch).order.tolist()


@pytest.mark.parametrize(
    "items, batch_size, crops", [(100, 32, 1), (97, 32, 1), (10, 3, 4), (5, 8, 1), (33, 32, 1), (64, 16, 2), (2, 2, 1)]
)
def test_an_epoch(items, batch_size, crops):
    sampler = RandomSampler(batch_size, crops)
    batches = sampler.batches(plain(items), seed=1, epoch=0)
    assert Counter(np.concatenate(list(batches)).tolist()) == dict.fromkeys(range(items), crops)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert len(batches) == sampler.batches_per_epoch(plain(items)) == -(-items * crops // batch_size)


def test_crops_of_one_utterance_are_a_pass_apart():
    found = order(RandomSampler(8, 3), 50)
    for first in range(0, 150, 50):
        assert sorted(found[first : first + 50]) == list(range(50))


def test_order_is_uniform():
    """Where item 0 lands over many epochs: each tenth of the epoch a tenth of the time, four deviations."""
    places = [order(RandomSampler(10), 10, seed=0, epoch=epoch).index(0) for epoch in range(2000)]
    assert np.abs(np.bincount(places, minlength=10) - 200).max() < 4 * np.sqrt(2000 * 0.1 * 0.9)


@pytest.mark.parametrize(
    "arguments, message",
    [((1,), "batch_size=1 must be at least 2"), ((8, 0), "crops_per_utterance=0 must be at least 1")],
)
def test_bad_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomSampler(*arguments)
