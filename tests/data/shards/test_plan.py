"""Every position once, whoever reads it: against plain loops."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.shards.plan import Layout, pieces


@pytest.mark.parametrize("utterances", [40, 41, 1000])
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("ranks, lanes", [(1, 1), (1, 3), (2, 1), (2, 2), (3, 4)])
def test_lanes_share_out_the_epoch(utterances, passes, ranks, lanes):
    batches = 6
    covered = []
    for rank in range(ranks):
        layout = Layout(batches, passes, rank, ranks, lanes)
        layout.check(utterances)
        sizes = [layout.size(batch, utterances) for batch in range(batches)]
        assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0
        for number in range(lanes):
            first, lane_sizes = layout.lane(number, utterances)
            assert lane_sizes.tolist() == sizes[number::lanes]
            covered += range(first, first + int(lane_sizes.sum()))
    assert covered == list(range(utterances * passes))


def test_ranks_have_equal_work():
    totals = [sum(Layout(9, 1, rank, 4, 2).size(batch, 1003) for batch in range(9)) for rank in range(4)]
    assert sum(totals) == 1003 and max(totals) - min(totals) <= 1


def test_ranks_with_less_than_two_utterances_a_batch_are_refused():
    Layout(5, 1, 0, 2, 1).check(20)
    with pytest.raises(InputError, match=r"19 utterances in 5 batches are too few for 2 processes: raise sampler"):
        Layout(5, 1, 0, 2, 1).check(19)
    Layout(5, 2, 0, 2, 1).check(10)


def expanded(items, passes, seed, epoch, first, count) -> list[tuple[int, int, int]]:
    """(position, shard, item) of each position."""
    found = []
    for piece in pieces(items, passes, seed, epoch, first, count):
        assert piece.first < piece.end
        found += [(piece.position + item - piece.first, piece.shard, item) for item in range(piece.first, piece.end)]
    return found


@pytest.mark.parametrize("passes", [1, 2])
def test_pieces_are_parts_of_one_sequence(passes):
    items = np.array([3, 0, 5, 1, 4])
    whole = expanded(items, passes, 1, 2, 0, 13 * passes)
    assert [position for position, *_ in whole] == list(range(13 * passes))
    everything = [(shard, item) for shard, count in enumerate(items) for item in range(count)]
    for turn in range(passes):
        assert sorted(row[1:] for row in whole[turn * 13 : turn * 13 + 13]) == everything
    for first in range(13 * passes):
        for count in range(13 * passes - first + 1):
            assert expanded(items, passes, 1, 2, first, count) == whole[first : first + count]


def test_epochs_and_seeds_have_orders_of_their_own():
    items = np.full(30, 2)
    orders = {
        tuple(row[1] for row in expanded(items, 1, seed, epoch, 0, 60)) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9
    two = [row[1] for row in expanded(items, 2, 1, 0, 0, 120)]
    assert two[:60] != two[60:]
    assert expanded(items, 1, 5, 6, 0, 60) == expanded(items, 1, 5, 6, 0, 60)
