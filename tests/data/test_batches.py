"""Dealing batches to ranks, and picking up in the middle."""

import numpy as np
import pytest

from speakerlab.data.batches import EpochBatches, Items
from speakerlab.data.samplers.random import RandomSampler

ITEMS, BATCH_SIZE = 53, 8  # seven batches of 7 or 8


def items(count: int) -> Items:
    return Items(np.arange(count) % 5, np.ones(count))


def make(rank=0, world_size=1, seed=1) -> EpochBatches:
    return EpochBatches(RandomSampler(items(ITEMS), BATCH_SIZE), seed, rank, world_size)


def epoch_of(batches: EpochBatches, epoch: int) -> list[list[tuple]]:
    batches.set_epoch(epoch)
    return list(batches)


def test_one_process_gets_the_samplers_batches_with_positions_counted_through():
    found = epoch_of(make(), 3)
    expected = RandomSampler(items(ITEMS), BATCH_SIZE).batches(1, 3)
    assert [[item for _, _, item in batch] for batch in found] == [batch.tolist() for batch in expected]
    assert [position for batch in found for _, position, _ in batch] == list(range(ITEMS))
    assert {epoch for batch in found for epoch, _, _ in batch} == {3}
    assert all(type(value) is int for batch in found for key in batch for value in key)  # seeds of a generator


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_each_batch(world_size):
    whole = epoch_of(make(), 2)
    shares = [epoch_of(make(rank, world_size), 2) for rank in range(world_size)]
    assert all(len(share) == len(whole) for share in shares)
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(key for part in parts for key in part) == batch  # by position: none twice, none missing
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_epochs_and_seeds_differ():
    orders = [epoch_of(make(seed=seed), epoch) for seed in range(2) for epoch in range(2)]
    items = [tuple(item for batch in order for _, _, item in batch) for order in orders]
    assert len(set(items)) == 4
    assert epoch_of(make(), 1) == epoch_of(make(), 1)


@pytest.mark.parametrize("rank, world_size", [(0, 1), (1, 3)])
@pytest.mark.parametrize("done", [0, 1, 4, 6, 7])
def test_a_resumed_epoch_has_what_was_left(done, rank, world_size):
    whole = epoch_of(make(rank, world_size), 2)
    resumed = make(rank, world_size)
    resumed.start_at(2, done)
    assert epoch_of(resumed, 2) == whole[done:]  # Lightning announces the epoch once more
    assert epoch_of(resumed, 3) == epoch_of(make(rank, world_size), 3)
    assert epoch_of(resumed, 2) == whole  # the start is forgotten with the first other epoch


def test_length_is_the_whole_epochs():
    batches = make(rank=1, world_size=2)
    assert len(batches) == len(list(batches)) == 7
    batches.start_at(0, 5)
    assert len(batches) == 7 and len(list(batches)) == 2


def test_positions_follow_uneven_batches():
    class Uneven:
        batches_per_epoch = 3

        def batches(self, seed, epoch):
            return [np.array([5, 4]), np.array([3, 2, 1]), np.array([0])]

    batches = EpochBatches(Uneven(), seed=0)
    assert list(batches) == [[(0, 0, 5), (0, 1, 4)], [(0, 2, 3), (0, 3, 2), (0, 4, 1)], [(0, 5, 0)]]
