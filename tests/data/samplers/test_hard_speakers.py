"""Counted against a plain loop: who is with whom in a batch."""

from collections import Counter

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.batches import Items
from speakerlab.data.samplers.hard_speakers import HardSpeakersSampler, occurrences

SPEAKERS = 60


@pytest.fixture
def items() -> Items:
    generator = np.random.default_rng(1)
    speakers = generator.permutation(np.repeat(np.arange(SPEAKERS), generator.integers(1, 30, SPEAKERS)))
    return Items(speakers, np.ones(len(speakers)))


@pytest.fixture
def neighbours() -> np.ndarray:
    """Speakers on a circle: the nearest of each are those beside it. `(speakers, 6)`."""
    steps = np.array([1, -1, 2, -2, 3, -3])
    return ((np.arange(SPEAKERS)[:, None] + steps) % SPEAKERS).astype(np.int32)


def groups(sampler: HardSpeakersSampler, items: Items, epoch: int = 0) -> np.ndarray:
    """`(batches, anchors, similar, utterances)` items."""
    batches = sampler.batches(items, 1, epoch)
    shape = (sampler.anchors, sampler.similar, sampler.utterances_per_speaker)
    assert set(batches.sizes) == {np.prod(shape)}
    return batches.order.reshape(-1, *shape)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("anchors, similar, utterances", [(4, 4, 1), (15, 4, 1), (3, 2, 3), (2, 30, 1)])
def test_no_speaker_is_twice_in_a_batch(items, neighbours, known, anchors, similar, utterances):
    sampler = HardSpeakersSampler(anchors, similar, utterances)
    sampler.neighbours = neighbours if known else None
    found = groups(sampler, items)
    assert len(found) == sampler.batches_per_epoch(items) == round(len(items) / (anchors * similar * utterances))
    for batch in items.speakers[found]:
        assert np.all(batch == batch[..., :1])
        assert len(set(batch[..., 0].ravel())) == anchors * similar


def test_a_group_is_an_anchor_with_its_nearest_that_were_free(items, neighbours):
    sampler = HardSpeakersSampler(5, 4)
    sampler.neighbours = neighbours
    lists_used_up = 0
    for batch in items.speakers[groups(sampler, items)[..., 0]]:  # (anchors, similar)
        taken: set[int] = set()
        for anchor, *others in batch.tolist():
            taken.add(anchor)
            expected = [n for n in neighbours[anchor].tolist() if n not in taken][:3]
            lists_used_up += len(expected) < 3
            assert others[: len(expected)] == expected
            taken |= set(others)
    assert lists_used_up < 5


def test_groups_are_random_before_the_first_refresh(items, neighbours):
    speakers = items.speakers[groups(HardSpeakersSampler(5, 4), items)[..., 0]]
    steps = (speakers[..., 1:] - speakers[..., :1] + SPEAKERS // 2) % SPEAKERS - SPEAKERS // 2
    assert np.mean(abs(steps) <= 3) < 0.25  # by chance 6 of 59


@pytest.mark.parametrize("known", [False, True])
def test_every_speaker_is_an_anchor(items, neighbours, known):
    sampler = HardSpeakersSampler(4, 3, crops_per_utterance=5)
    sampler.neighbours = neighbours if known else None
    counts = Counter(items.speakers[groups(sampler, items)[:, :, 0, 0]].ravel().tolist())
    assert len(counts) == SPEAKERS and max(counts.values()) - min(counts.values()) <= 2


def test_neighbours_alone_change_the_batches(items, neighbours):
    sampler, other = HardSpeakersSampler(4, 3), HardSpeakersSampler(4, 3)
    before = groups(sampler, items).tolist()
    sampler.neighbours = neighbours
    after = groups(sampler, items).tolist()
    assert after != before
    other.neighbours = neighbours.copy()  # as a resumed run is given them
    assert groups(other, items).tolist() == after
    assert groups(other, items, epoch=1).tolist() != after


def test_utterances_are_used_up_before_they_come_again_in_an_epoch(items, neighbours):
    sampler = HardSpeakersSampler(4, 3, crops_per_utterance=4)
    sampler.neighbours = neighbours
    path = groups(sampler, items).ravel()
    for speaker, number in enumerate(items.counts):
        own = path[items.speakers[path] == speaker]
        for first in range(0, len(own), number):
            part = own[first : first + number].tolist()
            assert len(set(part)) == len(part)


def test_occurrences():
    values = np.random.default_rng(0).integers(0, 9, 200)
    assert occurrences(values).tolist() == [np.count_nonzero(values[:i] == value) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1,), "anchors=1 must be at least 2"),
        ((4, 1), "similar=1 must be at least 2"),
        ((4, 4, 0), "utterances_per_speaker=0 must be at least 1"),
        ((4, 4, 1, 0), "crops_per_utterance=0 must be at least 1"),
    ],
)
def test_bad_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HardSpeakersSampler(*arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((8, 8), r"sampler\.anchors=8 times sampler\.similar=8 make 64 speakers a batch: there are only 60"),
        ((4, 4, 30), r"sampler\.utterances_per_speaker=30: no speaker has so many utterances; the most .* is 29"),
    ],
)
def test_too_small_corpora_are_refused(items, arguments, message):
    with pytest.raises(InputError, match=message):
        HardSpeakersSampler(*arguments).batches_per_epoch(items)
