"""Counted: speakers and utterances of every batch, over several epochs."""

from collections import Counter

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.batches import EpochBatches, Items
from speakerlab.data.samplers.speakers_x_utterances import SpeakersXUtterancesSampler, distinct_rounds

COUNTS = [1, 2, 3, 5, 8, 13, 21, 34, 8, 5, 7]  # 107 utterances of 11 speakers


@pytest.fixture
def items() -> Items:
    speakers = np.random.default_rng(1).permutation(np.repeat(np.arange(11), COUNTS))
    return Items(speakers, np.ones(len(speakers)))


def groups(items: Items, p: int, k: int, epoch: int) -> np.ndarray:
    """`(batches, p, k)` items."""
    batches = SpeakersXUtterancesSampler(p, k, min_utterances=1).batches(items, 1, epoch)
    assert set(batches.sizes) == {p * k}
    return batches.order.reshape(-1, p, k)


@pytest.mark.parametrize("p, k", [(2, 2), (4, 3), (5, 2), (7, 4), (11, 2), (6, 1)])
def test_a_batch_is_p_speakers_with_k_utterances(items, p, k):
    for epoch in range(4):
        found = groups(items, p, k, epoch)
        assert len(found) == round(107 / (p * k))
        for batch in found:
            speakers = items.speakers[batch]  # (p, k)
            assert np.all(speakers == speakers[:, :1])
            assert len(set(speakers[:, 0])) == p
            for group, speaker in zip(batch.tolist(), speakers[:, 0], strict=True):
                assert len(set(group)) == min(k, COUNTS[speaker])


@pytest.mark.parametrize("p, k", [(2, 2), (4, 3), (7, 2)])
def test_speakers_come_equally_often(items, p, k):
    for epoch in range(4):
        counts = Counter(items.speakers[groups(items, p, k, epoch)[:, :, 0]].ravel().tolist())
        assert len(counts) == 11 and max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("least, left", [(2, [0]), (5, [0, 1, 2])])
def test_speakers_of_few_utterances_are_not_drawn(items, least, left):
    sampler = SpeakersXUtterancesSampler(4, 2, min_utterances=least)
    drawn = set(range(11)) - set(left)
    assert sampler.batches_per_epoch(items) == round(sum(COUNTS[speaker] for speaker in drawn) / 8)
    visits = Counter(np.concatenate([items.speakers[sampler.batches(items, 1, epoch).order] for epoch in range(3)]))
    assert set(visits) == drawn
    assert f"fewer than {least} utterances: {len(left)} of 11 speakers" in sampler.note(items)


def test_with_as_many_utterances_as_wanted_everybody_is_drawn(items):
    plenty = Items(np.repeat(np.arange(11), 4), np.ones(44))
    found = [SpeakersXUtterancesSampler(4, 2, min_utterances=least).batches(plenty, 1, 2).order for least in (1, 4)]
    np.testing.assert_array_equal(*found)
    assert SpeakersXUtterancesSampler(4, 2).note(plenty) is None


def test_utterances_are_used_up_before_they_come_again(items):
    """Speaker 7 has 34 utterances, 17 visits of two: no two of its visits in a round share one, across epochs."""
    epochs = [groups(items, 11, 2, epoch) for epoch in range(17)]  # five batches, each with every speaker
    path = np.concatenate([group for found in epochs for group in found[items.speakers[found[:, :, 0]] == 7]])
    assert len(path) == 17 * 5 * 2
    for first in range(0, len(path), 34):
        assert len(set(path[first : first + 34].tolist())) == 34


def test_the_utterances_of_a_speaker_stay_on_one_rank(items):
    seen = []
    for rank in range(2):
        for batch in EpochBatches(SpeakersXUtterancesSampler(6, 3), items, 1, rank, 2):
            speakers = items.speakers[[item for _, _, item in batch]].reshape(3, 3)
            assert np.all(speakers == speakers[:, :1])
            seen.append(speakers[:, 0].tolist())
    assert len(seen) == 2 * round(107 / 18)
    for first, second in zip(seen[: len(seen) // 2], seen[len(seen) // 2 :], strict=True):
        assert not set(first) & set(second)


@pytest.mark.parametrize("speakers, rounds, batch", [(10, 5, 4), (7, 9, 7), (7, 9, 6), (5, 4, 2), (9, 2, 8)])
def test_distinct_rounds(speakers, rounds, batch):
    order = distinct_rounds(np.random.default_rng(0), speakers, rounds, batch)
    for first in range(0, len(order), speakers):
        assert sorted(order[first : first + speakers]) == list(range(speakers))
    for first in range(0, len(order), batch):
        part = order[first : first + batch].tolist()
        assert len(set(part)) == len(part)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1, 2), "speakers_per_batch=1 must be at least 2"),
        ((4, 0), "utterances_per_speaker=0 must be at least 1"),
        ((4, 2, 0), "crops_per_utterance=0 must be at least 1"),
        ((4, 2, 1, 0), "min_utterances=0 must be at least 1"),
    ],
)
def test_bad_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpeakersXUtterancesSampler(*arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((12, 2, 1, 1), r"sampler\.speakers_per_batch=12: there are only 11 speakers$"),
        ((11, 2), r"speakers_per_batch=11: there are only 10 speakers with sampler\.min_utterances=2"),
        (
            (4, 35),
            r"sampler\.utterances_per_speaker=35: no speaker has so many utterances; the most that one has is 34",
        ),
    ],
)
def test_too_small_corpora_are_refused(items, arguments, message):
    with pytest.raises(InputError, match=message):
        SpeakersXUtterancesSampler(*arguments).batches_per_epoch(items)


def test_a_corpus_of_one_utterance_a_speaker_has_nothing_to_compare():
    items = Items(np.arange(9), np.ones(9))
    with pytest.raises(InputError, match=r"the most that one has is 1; choose sampler=random and a loss that class"):
        SpeakersXUtterancesSampler(4, 2).batches_per_epoch(items)


def test_too_many_ranks_are_refused(items):
    with pytest.raises(InputError, match=r"3 groups of 2 items, but 4 are needed"):
        next(iter(EpochBatches(SpeakersXUtterancesSampler(3, 2), items, 1, 0, 2)))
