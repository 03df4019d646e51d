"""Dealing batches to ranks and picking up in the middle; and what every sampler in `conf/sampler` promises."""

import random
from collections import Counter

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.build import build
from speakerlab.config import CONF, check
from speakerlab.data.batches import Batches, EpochBatches, Items, check_sizes, order_generator
from speakerlab.data.samplers.random import RandomSampler

ITEMS, BATCH_SIZE = 53, 8  # seven batches of 7 or 8


def items(count: int) -> Items:
    return Items(np.arange(count) % 5, np.ones(count))


def make(rank=0, world_size=1, seed=1) -> EpochBatches:
    return EpochBatches(RandomSampler(BATCH_SIZE), items(ITEMS), seed, rank, world_size)


def epoch_of(batches: EpochBatches, epoch: int) -> list[list[tuple]]:
    batches.set_epoch(epoch)
    return list(batches)


class Fixed:
    """A sampler whose epochs are all the same."""

    def __init__(self, order, bounds, group=1):
        self.found = Batches(np.array(order), np.array(bounds))
        self.group = group

    def batches_per_epoch(self, items):
        return len(self.found)

    def batches(self, items, seed, epoch):
        return self.found


def test_one_process_gets_the_samplers_batches_with_positions_counted_through():
    found = epoch_of(make(), 3)
    expected = RandomSampler(BATCH_SIZE).batches(items(ITEMS), 1, 3)
    assert [[item for _, _, item in batch] for batch in found] == [batch.tolist() for batch in expected]
    assert [position for batch in found for _, position, _ in batch] == list(range(ITEMS))
    assert {epoch for batch in found for epoch, _, _ in batch} == {3}
    assert all(type(value) is int for batch in found for key in batch for value in key)  # seeds of a generator


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_each_batch(world_size):
    whole = epoch_of(make(), 2)
    shares = [epoch_of(make(rank, world_size), 2) for rank in range(world_size)]
    assert all(len(share) == len(whole) for share in shares)
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(key for part in parts for key in part) == batch  # by position: none twice, none missing
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_groups_stay_on_one_rank():
    sampler = Fixed([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 11, 10, 13, 12, 15, 14], [0, 8, 16], group=2)
    first, second = (list(EpochBatches(sampler, items(16), 0, rank, 2)) for rank in range(2))
    assert first == [[(0, 0, 9), (0, 1, 8), (0, 4, 5), (0, 5, 4)], [(0, 8, 1), (0, 9, 0), (0, 12, 13), (0, 13, 12)]]
    assert second == [
        [(0, 2, 7), (0, 3, 6), (0, 6, 3), (0, 7, 2)],
        [(0, 10, 11), (0, 11, 10), (0, 14, 15), (0, 15, 14)],
    ]


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
    batches = EpochBatches(Fixed([5, 4, 3, 2, 1, 0, 6], [0, 2, 5, 7]), items(7), seed=0)
    assert list(batches) == [[(0, 0, 5), (0, 1, 4)], [(0, 2, 3), (0, 3, 2), (0, 4, 1)], [(0, 5, 0), (0, 6, 6)]]


@pytest.mark.parametrize(
    "sizes, group, world_size, message",
    [
        ([8, 3, 8], 1, 2, r"smallest batch has 3 items, but 4 are needed \(2 for each of 2 processes\)"),
        ([8, 8], 4, 2, r"smallest batch has 2 groups of 4 items, but 4 are needed"),
        ([2, 1], 1, 1, "smallest batch has 1 items, but 2 are needed"),
        ([8, 4, 8], 1, 2, None),
        ([16], 4, 2, None),
        ([2], 1, 1, None),
    ],
)
def test_every_rank_needs_two_groups_of_a_batch(sizes, group, world_size, message):
    if message is None:
        check_sizes(np.array(sizes), group, world_size)
    else:
        with pytest.raises(InputError, match=message):
            check_sizes(np.array(sizes), group, world_size)


def test_a_small_batch_stops_before_the_first():
    with pytest.raises(InputError, match="smallest batch"):
        next(iter(EpochBatches(Fixed(range(9), [0, 8, 9]), items(9), seed=0)))


@pytest.mark.parametrize("items, count", [(10, 3), (3, 3), (100, 7)])
def test_even_batches(items, count):
    batches = Batches.even(np.arange(items), count)
    assert np.concatenate(list(batches)).tolist() == list(range(items))
    assert len(batches) == count and np.ptp(batches.sizes) <= 1


def test_items_by_speaker():
    some = Items(np.array([2, 0, 2, 1, 2]), np.ones(5))
    assert some.counts.tolist() == [1, 1, 3] and some.by_speaker.tolist() == [1, 3, 0, 2, 4]


def test_an_epochs_order_and_its_first_item_draw_differently():
    assert order_generator(5, 3).random() != np.random.default_rng([5, 3, 0, 0]).random()


# --- What every sampler promises


NAMES = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))


@pytest.fixture(scope="module")
def corpus() -> Items:
    """150 speakers with 1 to 40 utterances of 2 to 12 s, about 3,000, in no order."""
    generator = np.random.default_rng(0)
    speakers = generator.permutation(np.repeat(np.arange(150), generator.integers(1, 41, 150)))
    return Items(speakers, generator.uniform(2.0, 12.0, len(speakers)))


@pytest.fixture(params=NAMES)
def sampler(request, compose):
    """Each YAML in `conf/sampler` as it is."""
    cfg, choices = compose(f"sampler={request.param}")
    return build(check(cfg, "train", choices).sampler, "sampler")


def items_of(batches: Batches) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def largest(sampler) -> int:
    """What the settings say about the size of a batch: `batch_size`, or a product of counts."""
    counts = {name: value for name, value in vars(sampler).items() if type(value) is int}
    not_sizes = ("crops_per_utterance", "group", "candidates")
    return counts.get("batch_size") or int(np.prod([counts[name] for name in counts if name not in not_sizes]))


def test_an_epoch_is_as_long_as_it_says_and_batches_as_large(sampler, corpus):
    for epoch in (0, 1, 7):
        batches = sampler.batches(corpus, seed=1, epoch=epoch)
        assert len(batches) == sampler.batches_per_epoch(corpus) > 5
        assert batches.bounds[0] == 0 and batches.bounds[-1] == len(batches.order)
        assert min(batches.sizes) >= 2 and not np.any(batches.sizes % sampler.group)
        assert np.issubdtype(batches.order.dtype, np.integer)
        assert batches.order.min() >= 0 and batches.order.max() < len(corpus)
        assert 0.8 * len(corpus) < len(batches.order) < 1.2 * len(corpus)  # once each, on average
        for batch in batches:
            if hasattr(sampler, "max_seconds"):
                assert len(batch) * corpus.seconds[batch].max() <= sampler.max_seconds
            else:
                assert len(batch) <= largest(sampler)


def test_seed_and_epoch_alone_decide(sampler, corpus):
    places = [(seed, epoch) for seed in range(3) for epoch in range(3)]
    first = {place: items_of(sampler.batches(corpus, *place)) for place in places}
    assert len({str(found) for found in first.values()}) == len(places)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    for place in reversed(places):  # whatever has been drawn before
        assert items_of(sampler.batches(corpus, *place)) == first[place]


def test_no_global_random_state_is_touched(sampler, corpus):
    random.seed(6)
    np.random.seed(6)
    torch.manual_seed(6)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    sampler.batches(corpus, 1, 0)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_ranks_are_disjoint_and_cover_every_batch(sampler, corpus):
    whole = epoch_of(EpochBatches(sampler, corpus, 1), 2)
    shares = [epoch_of(EpochBatches(sampler, corpus, 1, rank, 2), 2) for rank in range(2)]
    assert [len(share) for share in shares] == [len(whole)] * 2 == [sampler.batches_per_epoch(corpus)] * 2
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(key for part in parts for key in part) == batch
        assert all(len(part) >= 2 and len(part) % sampler.group == 0 for part in parts)
        for part in parts:  # groups are whole: neighbours in the epoch
            starts = np.array([position for _, position, _ in part]).reshape(-1, sampler.group)
            assert np.all(np.diff(starts, axis=1) == 1)


def test_a_repeated_item_has_another_position(sampler, corpus):
    """The position is what crop and augmentation are drawn from."""
    keys = [key for epoch in range(2) for batch in epoch_of(EpochBatches(sampler, corpus, 1), epoch) for key in batch]
    assert max(Counter((epoch, position) for epoch, position, _ in keys).values()) == 1


def test_a_resumed_epoch_goes_on(sampler, corpus):
    whole = epoch_of(EpochBatches(sampler, corpus, 1, 1, 2), 3)
    resumed = EpochBatches(sampler, corpus, 1, 1, 2)
    resumed.start_at(3, 4)
    assert epoch_of(resumed, 3) == whole[4:]


def test_items_of_any_order(sampler, corpus):
    """Nothing depends on where a speaker's rows stand."""
    turned = Items(corpus.speakers[::-1].copy(), corpus.seconds[::-1].copy())
    batches = sampler.batches(turned, 1, 0)
    assert len(batches) == sampler.batches_per_epoch(corpus)
    drawn = np.flatnonzero(turned.counts >= getattr(sampler, "min_utterances", 1))
    assert np.array_equal(np.unique(turned.speakers[batches.order]), drawn) and len(drawn) >= 120
