"""Walks through each speaker's utterances, replayed by a loop that visits one after the other."""

from collections import Counter

import numpy as np
import pytest

from speakerlab.data.batches import Items
from speakerlab.data.samplers.walk import random_numbers, walk

COUNTS = [1, 2, 3, 5, 8, 13]


@pytest.fixture
def items() -> Items:
    speakers = np.random.default_rng(1).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
    return Items(speakers, np.ones(len(speakers)))


def visit(items: Items, speaker: int, visits: int, count: int, seed: int = 3) -> list[list[int]]:
    """The first visits of a speaker."""
    return walk(items, np.full(visits, speaker), np.arange(visits), count, [seed]).tolist()


@pytest.mark.parametrize("speaker", range(len(COUNTS)))
def test_no_utterance_is_repeated_before_all_were_visited(items, speaker):
    number = COUNTS[speaker]
    own = np.flatnonzero(items.speakers == speaker).tolist()
    path = [row for (row,) in visit(items, speaker, 4 * number, 1)]
    rounds = [path[first : first + number] for first in range(0, len(path), number)]
    assert all(sorted(one) == own for one in rounds)
    if number >= 5:
        assert len({tuple(one) for one in rounds}) == 4  # each round another order


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("speaker", range(len(COUNTS)))
def test_visits_of_several(items, speaker, count):
    number = COUNTS[speaker]
    visits_a_round = max(1, number // count)
    visits = visit(items, speaker, 6 * visits_a_round, count)
    assert {row for one in visits for row in one} <= set(np.flatnonzero(items.speakers == speaker).tolist())
    for one in visits:
        repeats = Counter(one).values()
        assert max(repeats) - min(repeats) <= 1 and len(repeats) == min(count, number)
    for first in range(0, len(visits), visits_a_round):
        seen = [row for one in visits[first : first + visits_a_round] for row in one]
        if number >= count:
            assert len(set(seen)) == len(seen) == visits_a_round * count


def test_a_visit_leads_to_the_same_place_whatever_else_is_visited(items):
    generator = np.random.default_rng(2)
    speakers, visits = generator.integers(0, len(COUNTS), 300), generator.integers(0, 1000, 300)
    together = walk(items, speakers, visits, 2, [3])
    for speaker, nth, found in zip(speakers[:40], visits[:40], together, strict=False):
        assert walk(items, np.array([speaker]), np.array([nth]), 2, [3]).tolist() == [found.tolist()]
    assert not np.array_equal(together, walk(items, speakers, visits, 2, [4]))
    assert not np.array_equal(together, walk(items, speakers, visits, 2, [3, 0, 1]))


def test_every_order_of_a_round_is_as_likely():
    """Three utterances: six orders, a sixth of 6,000 rounds each, within four deviations."""
    three = Items(np.zeros(3, np.int64), np.ones(3))
    rounds = np.array(visit(three, 0, 18_000, 1)).reshape(-1, 3)
    counts = Counter(map(tuple, rounds.tolist()))
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 4 * np.sqrt(6000 / 6 * 5 / 6)


def test_random_numbers_are_splitmix():
    """The generator's published first outputs for seed 1234567, from its update of the state by a constant."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    from speakerlab.data.samplers.walk import _mix

    states = (1234567 + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    assert _mix(states).tolist() == expected
    grid = random_numbers(np.repeat(np.arange(50), 50), np.tile(np.arange(50), 50), [1])
    assert len(set(grid.tolist())) == 2500
    bits = (grid[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2500)
