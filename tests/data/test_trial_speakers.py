"""Names, numbers and samples of speakers."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.trial_speakers import check_speakers, sample_rows, speaker_names, speakers_by_targets
from speakerlab.data.trials import Trials


def make(labels, pairs, names=None) -> Trials:
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    names = names or [f"u{i}" for i in range(pairs.max() + 1)]
    return Trials(np.array(labels, np.int8), pairs[:, 0], pairs[:, 1], names, np.arange(1, len(pairs) + 1), "test")


def union_find(trials: Trials) -> list[int]:
    parent = list(range(len(trials.utterances)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for label, enrol, test in zip(trials.labels, trials.enrol, trials.test, strict=True):
        if label:
            parent[root(enrol)] = root(test)
    return [root(i) for i in range(len(parent))]


@pytest.mark.parametrize("seed", range(8))
def test_speakers_are_what_targets_connect(seed):
    generator = np.random.default_rng(seed)
    pairs = np.concatenate([generator.integers(0, 40, (60, 2)), [[39, 39]]])
    trials = make(generator.random(61) < 0.4, pairs)
    found, expected = speakers_by_targets(trials), union_find(trials)
    assert found.shape == (40,)
    assert len(set(zip(found.tolist(), expected, strict=True))) == len(set(found.tolist())) == len(set(expected))
    assert len(set(expected)) < 40


def test_speakers_are_numbered_as_the_trials_name_them():
    """Whatever the utterances' own order is; one that is in no trial comes last."""
    pairs, labels = np.array([[3, 1], [0, 2], [4, 0]]), [1, 0, 1]
    assert speakers_by_targets(make(labels, pairs, list("abcdef"))).tolist() == [1, 0, 2, 0, 1, 3]
    shuffle = np.array([5, 2, 0, 4, 1, 3])  # the new place of each
    found = speakers_by_targets(make(labels, shuffle[pairs], list("cfbaed")))
    assert found[shuffle].tolist() == [1, 0, 2, 0, 1, 3]


def test_repeated_targets_and_none():
    assert len(set(speakers_by_targets(make([1] * 300, [[0, 1]] * 300)).tolist())) == 1
    assert len(set(speakers_by_targets(make([0, 0], [[0, 1], [1, 2]])).tolist())) == 3


def test_labels_that_no_speakers_fit_are_named():
    fitting = make([1, 0, 1, 0], [[0, 1], [0, 2], [2, 3], [1, 3]])
    check_speakers(fitting)
    broken = make([0, 1, 1, 0, 0], [[0, 3], [0, 1], [1, 2], [0, 2], [1, 0]], list("abcd"))
    with pytest.raises(InputError, match=r"test, line 4: a and c are of different speakers here, .*lines like this: 2"):
        check_speakers(broken)


def test_target_trials_connect_speakers():
    trials = Trials(
        labels=np.array([1, 1, 0, 1], np.int8),
        enrol=np.array([0, 1, 0, 4], np.int32),
        test=np.array([1, 2, 3, 5], np.int32),
        utterances=list("abcdef"),
        lines=np.arange(1, 5, dtype=np.int32),
        source="",
    )
    numbers = speakers_by_targets(trials)
    assert numbers[0] == numbers[1] == numbers[2] and numbers[4] == numbers[5]
    assert len({numbers[0], numbers[3], numbers[4]}) == 3


@pytest.mark.parametrize(
    "utterances, speakers, expected",
    [
        (["a/x/1", "b/y/1", "a/z/2", "b/y/2"], [3, 5, 3, 5], ["a", "b/y", "a", "b/y"]),
        (["test/a/1", "test/b/1", "test/a/2"], [0, 1, 0], ["a", "b", "a"]),  # what all share tells nothing
        (["wav/a/1", "wav/a/2"], [0, 0], ["a", "a"]),
        (["d/1", "d/2", "d/3"], [0, 1, 0], ["as in d/1", "as in d/2", "as in d/1"]),
        (["1", "2"], [0, 1], ["as in 1", "as in 2"]),
    ],
)
def test_a_speaker_is_named_by_the_folders(utterances, speakers, expected):
    assert speaker_names(utterances, np.array(speakers)).tolist() == expected


def test_a_sample_has_the_most_frequent_speakers_and_spreads_over_them():
    speakers = np.repeat([7, 1, 4], [3, 9, 9])
    rows = sample_rows(speakers, most_speakers=2, most_each=3)
    assert rows.tolist() == [3, 7, 11, 12, 16, 20]
    assert len(sample_rows(speakers)) == 21
    many = np.random.default_rng(0).integers(0, 300, 20_000)
    rows = sample_rows(many)
    _, counts = np.unique(many[rows], return_counts=True)
    assert len(counts) == 20 and set(counts) == {25} and len(set(rows.tolist())) == 500
