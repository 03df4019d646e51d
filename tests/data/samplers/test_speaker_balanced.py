"""Counted: how often each speaker and each utterance comes."""

from collections import Counter

import numpy as np
import pytest

from speakerlab.data.batches import Items
from speakerlab.data.samplers.speaker_balanced import SpeakerBalancedSampler

COUNTS = [1, 4, 6, 9, 20, 40]  # 80 utterances: 13 visits a speaker and epoch


@pytest.fixture
def items() -> Items:
    return Items(np.repeat(np.arange(6), COUNTS), np.ones(80))


def order(items: Items, epoch: int, **settings) -> np.ndarray:
    return SpeakerBalancedSampler(**settings).batches(items, 1, epoch).order


@pytest.mark.parametrize("crops, visits", [(1, 13), (3, 40)])
def test_every_speaker_is_there_equally_often(items, crops, visits):
    for epoch in range(3):
        found = order(items, epoch, crops_per_utterance=crops)
        assert Counter(items.speakers[found].tolist()) == dict.fromkeys(range(6), visits)


def test_a_round_after_the_other(items):
    found = items.speakers[order(items, 0)]
    for first in range(0, len(found), 6):
        assert sorted(found[first : first + 6]) == list(range(6))


def test_utterances_are_used_up_before_they_come_again_from_epoch_to_epoch(items):
    found = np.concatenate([order(items, epoch) for epoch in range(12)])
    for speaker, number in enumerate(COUNTS):
        path = found[items.speakers[found] == speaker]
        assert len(path) == 12 * 13
        for first in range(0, len(path), number):
            one = path[first : first + number]
            assert len(set(one.tolist())) == len(one)
        counts = np.bincount(path, minlength=80)[items.speakers == speaker]
        assert counts.max() - counts.min() <= 1


def test_an_epoch_needs_no_earlier_one(items):
    """A resumed run has not walked the epochs before."""
    assert np.array_equal(order(items, 11), order(items, 11))
    assert not np.array_equal(order(items, 11), order(items, 12))


def test_batches_of_nearly_equal_size(items):
    sampler = SpeakerBalancedSampler(batch_size=32)
    sizes = sampler.batches(items, 1, 0).sizes
    assert sizes.tolist() == [26, 26, 26] and sampler.batches_per_epoch(items) == 3


@pytest.mark.parametrize("arguments, name", [((1,), "batch_size=1"), ((8, 0), "crops_per_utterance=0")])
def test_bad_counts_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        SpeakerBalancedSampler(*arguments)
