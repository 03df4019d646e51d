"""Against lists in which a drawn speaker's utterances truly stand several times."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from speakerlab import InputError
from speakerlab.scoring.bootstrap import difference, interval
from speakerlab.scoring.identification import macro_f1
from speakerlab.scoring.identification_bootstrap import bootstrap_identification


def some(seed=0, utterances=120, classes=9):
    rng = np.random.default_rng(seed)
    speakers = 3 + rng.integers(0, classes, utterances)  # some classes never speak
    predicted = np.where(rng.random(utterances) < 0.7, speakers, rng.integers(0, classes + 5, utterances))
    return predicted == speakers, predicted, speakers


def test_equals_truly_repeated_utterances():
    right, predicted, speakers = some()
    found = bootstrap_identification(right, predicted, speakers, draws=40, seed=5)
    names, rng = np.unique(speakers), np.random.default_rng(5)
    for draw in range(40):
        drawn = names[rng.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(speakers == name) for name in drawn])
        assert found["accuracy"][draw] == pytest.approx(right[rows].mean())
        f1 = f1_score(speakers, predicted, average=None, zero_division=0, labels=drawn)
        present = len(np.unique([predicted, speakers]))
        assert found["macro_f1"][draw] == pytest.approx(f1.mean() * len(names) / present)


def test_intervals_and_differences_come_of_it():
    right, predicted, speakers = some(utterances=600)
    found = bootstrap_identification(right, predicted, speakers, draws=300)
    for name, value in {"accuracy": right.mean(), "macro_f1": macro_f1(predicted, speakers)}.items():
        low, high = interval(found[name])
        assert 0.4 < low < value < high < 1
    drawn = found["accuracy"]
    perfect = bootstrap_identification(np.ones(600, bool), speakers, speakers, draws=300)["accuracy"]
    assert difference(right.mean(), 1.0, drawn, perfect).p_value == pytest.approx(2 / 301)


@pytest.mark.parametrize(
    "lists, draws, message",
    [
        (([], [], []), 10, "not empty"),
        (([1], [0, 1], [0, 1]), 10, r"\(1,\), \(2,\) and \(2,\)"),
        (([1], [0], [0]), 0, "draws=0 must be at least 1"),
    ],
)
def test_bad_lists_are_refused(lists, draws, message):
    with pytest.raises(InputError, match=message):
        bootstrap_identification(*lists, draws=draws)
