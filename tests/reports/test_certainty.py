import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from speakerlab.reports.certainty import (
    accuracy_figure,
    calibration_error,
    certainty_figure,
    reliability,
)


def guesses(count: int = 2000):
    generator = np.random.default_rng(0)
    probability = generator.uniform(0.2, 1.0, count)
    return probability, generator.random(count) < probability**2


def test_bins_are_scikit_learns():
    probability, right = guesses()
    share, mean = calibration_curve(right, probability, n_bins=10)
    found_mean, found_share, count = reliability(probability, right)
    filled = count > 0
    np.testing.assert_allclose(found_mean[filled], mean)
    np.testing.assert_allclose(found_share[filled], share)
    assert not filled[:2].any() and count.sum() == 2000
    assert calibration_error(probability, right) == pytest.approx(np.sum(np.abs(share - mean) * count[filled]) / 2000)


def test_certain_guesses_are_in_the_last_bin():
    _, _, count = reliability(np.array([1.0, 0.95, 0.0]), np.array([True, True, False]))
    assert (count[9], count[0]) == (2, 1)


def test_each_utterance_is_drawn_once():
    probability, right = guesses()
    above, below = certainty_figure(probability, right).axes
    tops = [patch.get_data() for patch in below.patches]
    assert sum(tops[0].values) == right.sum() and sum(tops[1].values) == 2000
    np.testing.assert_array_equal(tops[1].baseline, tops[0].values)  # the wrong ones lie on the right ones
    assert len(above.lines[1].get_xdata()) == 8


def test_speakers_without_utterances_are_left_out():
    (axes,) = accuracy_figure(np.array([0.5, np.nan, 2 / 3, np.nan])).axes
    heights = [patch.get_height() for patch in axes.patches]
    assert sum(heights) == 2 and heights[10] == 1 and heights[13] == 1
    assert "58.33" in axes.lines[0].get_label()
