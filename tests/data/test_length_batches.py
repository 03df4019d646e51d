"""Batches by length: complete, sorted, within their limits."""

import numpy as np
import pytest

from speakerlab.data.length_batches import LengthBatches


def seconds(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1.0, 20.0, count)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 4, 101])
def test_every_utterance_once_over_all_ranks(count, world_size):
    lengths = seconds(count)
    ranks = [list(LengthBatches(lengths, 60.0, rank, world_size)) for rank in range(world_size)]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(count))
    counts = [len(batches) for batches in ranks]
    assert max(counts) - min(counts) <= 1
    assert [len(LengthBatches(lengths, 60.0, rank, world_size)) for rank in range(world_size)] == counts


def test_padded_batches_keep_the_limit_and_the_longest_come_first():
    lengths = seconds(200)
    batches = list(LengthBatches(lengths, 60.0))
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(lengths, reverse=True)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        longest = max(lengths[batch])
        assert len(batch) * longest <= 60.0
        if following is not None:
            assert (len(batch) + 1) * longest > 60.0  # full: one more would not have fitted


def test_an_utterance_above_the_limit_is_a_batch_of_its_own():
    assert list(LengthBatches(np.array([3.0, 90.0, 200.0, 3.0]), 60.0)) == [[2], [1], [0, 3]]


def test_no_utterances():
    assert list(LengthBatches(np.array([]))) == []


def test_at_most_so_many():
    lengths = seconds(50)
    batches = list(LengthBatches(lengths, 60.0, most=3))
    assert max(map(len, batches)) == 3
    for batch in batches[:-1]:
        assert len(batch) == 3 or (len(batch) + 1) * lengths[batch[0]] > 60.0
    assert sorted(index for batch in batches for index in batch) == list(range(50))
