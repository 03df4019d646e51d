"""Counted: every utterance once, nothing over the limit, little padding."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.batches import Batches, Items
from speakerlab.data.samplers.length_bucketed import LengthBucketedSampler, cut


def corpus(count: int, seed: int = 0) -> Items:
    """Lengths as VoxCeleb has them: from 4 s, half below 7, a thin tail to 145."""
    generator = np.random.default_rng(seed)
    seconds = np.minimum(4.0 + generator.exponential(4.2, count), 145.0)
    return Items(np.zeros(count, np.int64), seconds)


def padded(items: Items, batches: Batches) -> np.ndarray:
    """`(batches,)` seconds of each with its padding."""
    return np.array([len(batch) * items.seconds[batch].max() for batch in batches])


@pytest.mark.parametrize("count", [2, 3, 17, 100, 5000])
@pytest.mark.parametrize("max_seconds", [90.0, 240.0])
def test_each_utterance_once_and_no_batch_too_large(count, max_seconds):
    items = corpus(count)
    sampler = LengthBucketedSampler(max_seconds)
    for epoch in range(3):
        batches = sampler.batches(items, 1, epoch)
        assert sorted(batches.order.tolist()) == list(range(count))
        assert padded(items, batches).max() <= max_seconds
        assert len(batches) == sampler.batches_per_epoch(items) and batches.sizes.min() >= 2


def test_little_padding():
    """Against batches of random utterances as large; nearly as few batches as without any padding."""
    items, sampler = corpus(5000), LengthBucketedSampler(240.0)
    batches = sampler.batches(items, 1, 0)
    total = items.seconds.sum()
    assert 1 - total / padded(items, batches).sum() < 0.05
    shuffled = Batches(np.random.default_rng(0).permutation(5000), batches.bounds)
    assert 1 - total / padded(items, shuffled).sum() > 0.4
    assert len(batches) < 1.1 * total / 240.0  # full batches


@pytest.mark.parametrize("max_padding", [0.05, 0.2])
def test_no_utterance_is_padded_by_more_than_allowed(max_padding):
    items = corpus(5000)
    batches = LengthBucketedSampler(240.0, max_padding).batches(items, 1, 0)
    longest = np.array([items.seconds[batch].max() for batch in batches])
    shares = 1 - np.array([items.seconds[batch].min() for batch in batches]) / longest
    # But in the tail, where those of nearly equal length do not fill a batch.
    assert np.mean(shares > max_padding) < 0.1
    assert shares[longest < 12].max() <= max_padding


def test_mates_and_order_change_from_epoch_to_epoch():
    items, sampler = corpus(5000), LengthBucketedSampler(240.0)
    first, second = (sampler.batches(items, 1, epoch) for epoch in range(2))
    mates = {frozenset(batch.tolist()) for batch in first}
    assert np.mean([frozenset(batch.tolist()) in mates for batch in second]) < 0.05
    longest = [[items.seconds[batch].max() for batch in found] for found in (first, second)]
    assert abs(np.corrcoef(longest[0], np.arange(len(first)))[0, 1]) < 0.2  # in no order of length
    assert longest[0] != longest[1]


def test_the_largest_batch_comes_first_when_asked():
    items = corpus(1000)
    for epoch in range(3):
        found = padded(items, LengthBucketedSampler().batches(items, 1, epoch))
        assert found[0] == found.max()
    free = [padded(items, LengthBucketedSampler(largest_first=False).batches(items, 1, epoch)) for epoch in range(5)]
    assert any(found[0] < found.max() for found in free)


def test_longer_ones_are_left_out_when_asked():
    items = corpus(1000)
    batches = LengthBucketedSampler(240.0, longest_seconds=10.0).batches(items, 1, 0)
    assert sorted(batches.order.tolist()) == np.flatnonzero(items.seconds <= 10.0).tolist()


def test_equal_lengths_make_plain_batches():
    items = Items(np.zeros(100, np.int64), np.full(100, 2.0))
    assert set(LengthBucketedSampler(max_seconds=20.0, max_padding=0.0).batches(items, 1, 0).sizes) == {10}


def test_the_last_few_join_the_batches_before():
    """Ten in a batch, and one is left: eleven make two batches."""
    buckets = cut(np.full(31, 2.0), 20.0, 0.1)
    assert [bucket.sizes.tolist() for bucket in buckets] == [[7, 8, 8, 8]]
    buckets = cut(np.array([10.0, 10.0, 1.0]), 20.0, 0.1)  # no room: a rank that gets one item will say so
    assert sum(bucket.batches for bucket in buckets) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0,), "max_seconds=0.0 must be positive"),
        ((9.0, 1.0), "max_padding=1.0 must be at least 0 and below 1"),
        ((9.0, 0.1, 5.0), "longest_seconds=5.0 must be positive and at most 4.5"),
        ((9.0, 0.1, 0.0), "longest_seconds=0.0 must be positive"),
    ],
)
def test_bad_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LengthBucketedSampler(*arguments)


def test_too_long_utterances_are_refused():
    items = Items(np.zeros(3, np.int64), np.array([4.0, 121.5, 5.0]))
    with pytest.raises(InputError, match=r"the longest has 121\.50 s; give at least 243\.00, or sampler\.longest_sec"):
        LengthBucketedSampler(240.0).batches_per_epoch(items)
    assert LengthBucketedSampler(240.0, longest_seconds=100.0).batches_per_epoch(items) == 1
    with pytest.raises(InputError, match="every utterance is longer"):
        LengthBucketedSampler(240.0, longest_seconds=1.0).batches_per_epoch(items)
