"""Calibration against the known ratio of Gaussian scores and a direct minimisation."""

import numpy as np
import pytest
from scipy.optimize import minimize

from speakerlab import InputError
from speakerlab.scoring.calibration import Calibration, train_calibration
from speakerlab.scoring.calibration_metrics import cllr, min_cllr
from speakerlab.scoring.metrics import error_rates, min_dcf


def two_systems(count: int = 20000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Independent scores N(label, 1) and N(2 label, 2), moved and scaled; few targets."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < 0.1).astype(int)
    first = 0.1 * generator.normal(labels, 1.0) + 0.4
    second = 50 * generator.normal(2.0 * labels, np.sqrt(2.0)) - 7
    return np.stack([first, second], axis=1), labels


def true_ratios(columns: np.ndarray) -> np.ndarray:
    """x - 1/2 of N(0 or 1, 1), and y - 1 of N(0 or 2, 2)."""
    first, second = (columns[:, 0] - 0.4) / 0.1, (columns[:, 1] + 7) / 50
    return (first - 0.5) + (second - 1.0)


@pytest.mark.parametrize("p_target", [0.1, 0.5])
def test_fusion_finds_the_true_ratio(p_target):
    columns, labels = two_systems()
    fusion = train_calibration(columns, labels, ("a", "b"), p_target)
    np.testing.assert_allclose(fusion.weights, [10.0, 0.02], rtol=0.06)
    expected = true_ratios(columns)
    assert np.abs(fusion.llrs(columns) - expected).mean() < 0.1
    alone = [min_cllr(error_rates(columns[:, system], labels)) for system in (0, 1)]
    assert cllr(fusion.llrs(columns), labels) < min(alone) - 0.05
    assert fusion.names == ("a", "b")


def test_the_fit_minimises_the_weighted_cross_entropy():
    columns, labels = two_systems(500, 3)
    prior = 0.05

    def cost(parameters: np.ndarray) -> float:
        odds = columns / [0.1, 50] @ parameters[:2] + parameters[2] + np.log(prior / (1 - prior))
        own, other = odds[labels == 1], odds[labels == 0]
        return prior * np.logaddexp(0, -own).mean() + (1 - prior) * np.logaddexp(0, other).mean()

    best = minimize(cost, np.zeros(3), tol=1e-14).x
    fusion = train_calibration(columns, labels, ("a", "b"), prior)
    np.testing.assert_allclose([*np.array(fusion.weights) * [0.1, 50], fusion.offset], best, rtol=5e-3, atol=5e-3)


def test_a_threshold_on_the_scores():
    columns, labels = two_systems(60000, 1)
    calibration = train_calibration(columns[:, 0], labels, p_target=0.1)
    found = calibration.threshold(0.1)
    assert calibration.llrs([found])[0] == pytest.approx(np.log(0.9 / 0.1))
    _, threshold = min_dcf(error_rates(columns[:, 0], labels), 0.1)
    assert found == pytest.approx(threshold, abs=0.03)
    with pytest.raises(InputError, match="only the calibration of one system"):
        train_calibration(columns, labels, ("a", "b")).threshold()


def test_separable_trials_stay_finite():
    calibration = train_calibration([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert np.isfinite(calibration.llrs([0.0, 1.0])).all() and calibration.llrs([1.0]) > 0 > calibration.llrs([0.0])


@pytest.mark.parametrize(
    "columns, labels, names, message",
    [
        ([1.0, 1.0, 1.0], [0, 1, 1], ("score",), "score is the same in all trials"),
        ([[1.0, 2.0]] * 3, [0, 1, 1], ("score",), r"is of 1 columns, not of a table of the shape \(3, 2\)"),
        ([1.0, float("nan"), 2.0], [0, 1, 1], ("score",), "1 of 3 scores are NaN"),
        ([1.0, 2.0], [1, 1], ("score",), "all 2 trials are target trials"),
        ([[1.0, 1.0], [0.5, 1e300], [2.0, -1e300]], [0, 1, 1], ("a", "b"), r"b is too large .* up to 1e\+300"),
    ],
)
def test_what_can_not_be_calibrated_is_refused(columns, labels, names, message):
    with pytest.raises(InputError, match=message):
        train_calibration(columns, labels, names)


def test_other_columns_are_refused():
    with pytest.raises(InputError, match="is of 2 columns"):
        Calibration(("a", "b"), (1.0, 2.0), 0.0).llrs([1.0, 2.0])
