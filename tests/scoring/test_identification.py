"""Against scikit-learn, and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score
from sklearn.metrics import confusion_matrix as confusion_of

from speakerlab import InputError
from speakerlab.scoring.identification import (
    confusion_matrix,
    cumulative_match,
    guesses_of,
    identification_metrics,
    macro_f1,
    speaker_accuracy,
    speaker_f1,
)


@pytest.mark.parametrize("seed, utterances, classes", [(0, 500, 20), (1, 60, 40), (2, 30, 6)])
def test_metrics_are_those_of_scikit_learn(seed, utterances, classes):
    generator = np.random.default_rng(seed)
    speakers = generator.integers(0, classes, utterances)
    logits = generator.standard_normal((utterances, classes))
    logits[np.arange(utterances), speakers] += 1.5
    metrics = identification_metrics(guesses_of(logits, speakers), speakers)
    every, predicted = np.arange(classes), logits.argmax(1)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(speakers, predicted))
    assert metrics["top5_accuracy"] == pytest.approx(top_k_accuracy_score(speakers, logits, k=5, labels=every))
    assert metrics["macro_f1"] == pytest.approx(f1_score(speakers, predicted, average="macro"))
    assert metrics["micro_f1"] == pytest.approx(f1_score(speakers, predicted, average="micro"))
    confused = confusion_matrix(predicted, speakers, classes)
    assert (confused.toarray() == confusion_of(speakers, predicted, labels=every)).all()
    per_speaker = speaker_accuracy(predicted == speakers, speakers, classes)
    for speaker in every:
        own = predicted[speakers == speaker]
        assert np.isnan(per_speaker[speaker]) if not len(own) else per_speaker[speaker] == (own == speaker).mean()
    assert metrics["error_rate"] == 1 - metrics["accuracy"] and metrics["utterances"] == utterances
    assert 0.1 < metrics["accuracy"] < metrics["top5_accuracy"] <= 1


def test_f1_counts_speakers_who_speak_or_are_named():
    for predicted, speakers in [([0, 0, 7], [0, 2, 2]), ([1], [1]), ([3, 3, 3], [0, 1, 2]), ([0, 1, 1], [0, 1, 1])]:
        expected = f1_score(speakers, predicted, average="macro", zero_division=0)
        assert macro_f1(predicted, speakers) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=30))
def test_f1_of_each_speaker_follows_scikit_learn(rows):
    predicted, speakers = np.array(rows).T
    present = np.unique([predicted, speakers])
    found = speaker_f1(predicted, speakers)
    assert found[present] == pytest.approx(f1_score(speakers, predicted, average=None, zero_division=0, labels=present))
    assert np.isnan(np.delete(found, present)).all()
    assert macro_f1(predicted, speakers) == pytest.approx(found[present].mean())


def test_thousands_of_speakers_have_a_small_confusion_matrix():
    generator = np.random.default_rng(0)
    speakers, predicted = generator.integers(0, 100_000, (2, 5000))
    confused = confusion_matrix(predicted, speakers, 100_000)
    assert confused.shape == (100_000, 100_000) and confused.nnz <= 5000 and confused.sum() == 5000


def test_probability_and_rank_by_hand():
    logits = np.log([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.1, 0.1, 0.8]])
    guesses = guesses_of(logits + np.array([[0], [900], [-900]]), [0, 0, 1])
    assert guesses.predicted.tolist() == [1, 0, 2]
    assert guesses.rank.tolist() == [3, 1, 3]
    assert guesses.probability == pytest.approx([0.5, 0.7, 0.8])


def test_constant_logits_recognise_nobody():
    speakers = np.arange(10)
    metrics = identification_metrics(guesses_of(np.ones((10, 10)), speakers), speakers)
    assert metrics["accuracy"] == metrics["top5_accuracy"] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    logits = np.zeros((3, 4))
    logits[1, 2] = value
    with pytest.raises(InputError, match="logits of 1 of 3 utterances are NaN or infinite"):
        guesses_of(logits, [0, 1, 2])


def test_impossible_speakers_are_refused():
    for speakers in ([0, 4], [-1, 0]):
        with pytest.raises(InputError, match="speakers must be 0 to 3"):
            guesses_of(np.zeros((2, 4)), speakers)
    with pytest.raises(InputError, match="no utterances"):
        identification_metrics(guesses_of(np.zeros((0, 3)), np.zeros(0, int)), [])


def test_cumulative_match_against_top_k():
    generator = np.random.default_rng(3)
    speakers, logits = generator.integers(0, 9, 80), generator.standard_normal((80, 9))
    found = cumulative_match(guesses_of(logits, speakers).rank, 9)
    labels = np.arange(9)
    assert found == pytest.approx(
        [*(top_k_accuracy_score(speakers, logits, k=k, labels=labels) for k in range(1, 9)), 1.0]
    )
    assert len(cumulative_match([1, 20], 5)) == 5


@pytest.mark.parametrize("classes", [3, 5, 60])
def test_the_first_few_are_those_of_a_sort(classes):
    generator = np.random.default_rng(classes)
    logits = generator.integers(0, 9, (40, classes)).astype(float)  # many are equal: the lower number goes first
    guesses = guesses_of(logits, np.zeros(40, int))
    np.testing.assert_array_equal(guesses.first, np.argsort(-logits, axis=1, kind="stable")[:, :5])
    every = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(guesses.posteriors, np.take_along_axis(every, guesses.first, axis=1))
    np.testing.assert_array_equal(guesses.predicted, guesses.first[:, 0])
    np.testing.assert_array_equal(guesses.probability, guesses.posteriors[:, 0])
