"""Cllr, actual costs, areas and rates against loops, scikit-learn and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from speakerlab import InputError
from speakerlab.scoring.calibration_metrics import (
    actual_dcf,
    area_under_roc,
    class_shares,
    cllr,
    isotonic_llrs,
    min_cllr,
    miss_at_false_alarm,
)
from speakerlab.scoring.metrics import OPERATING_POINTS, error_rates, min_dcf, operating_point


def trials(count: int = 400, seed: int = 0, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two normal classes, on a grid of `step` so that many tie."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < 0.3).astype(int)
    labels[:2] = 0, 1
    scores = generator.normal(2.0 * labels, 1.0)
    return (np.round(scores / step) * step if step else scores), labels


lists = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_cllr_is_the_mean_of_logarithms(step):
    llrs, labels = trials(step=step)
    own = [math.log2(1 + math.exp(-x)) for x, label in zip(llrs, labels, strict=True) if label]
    other = [math.log2(1 + math.exp(x)) for x, label in zip(llrs, labels, strict=True) if not label]
    assert cllr(llrs, labels) == pytest.approx((sum(own) / len(own) + sum(other) / len(other)) / 2)


def test_cllr_of_nothing_said_and_of_huge_ratios():
    assert cllr([0.0] * 6, [0, 1, 0, 1, 1, 0]) == pytest.approx(1.0)
    assert cllr([1e4, -1e4], [1, 0]) == 0.0
    assert cllr([-1e4, 1e4], [1, 0]) == pytest.approx(1e4 / math.log(2))


def test_calibrated_ratios_of_two_normal_classes():
    """Of scores N(0, 1) and N(2, 1), 2 x - 2 is the log-likelihood ratio: nothing is left to gain."""
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1], 40000)
    llrs = 2 * generator.normal(2.0 * labels, 1.0) - 2
    assert cllr(llrs, labels) == pytest.approx(min_cllr(error_rates(llrs, labels)), abs=0.003)
    for prior, c_miss, c_fa in [operating_point(name) for name in (*OPERATING_POINTS, 0.01, 0.5)]:
        best, _ = min_dcf(error_rates(llrs, labels), prior, c_miss, c_fa)
        assert actual_dcf(llrs, labels, prior, c_miss, c_fa) == pytest.approx(best, abs=0.03)
    risen = error_rates(np.exp(llrs / 9), labels)
    assert min_cllr(risen) == pytest.approx(min_cllr(error_rates(llrs, labels)))  # any rising function
    assert cllr(llrs + 3, labels) > cllr(llrs, labels) + 0.3


@given(lists)
@settings(max_examples=100, deadline=None)
def test_isotonic_ratios_follow_scikit_learn(pairs):
    scores, labels = np.array([s for s, _ in pairs], float), np.array([label for _, label in pairs])
    share = IsotonicRegression().fit_transform(scores, labels.astype(float))
    prior = labels.mean()
    with np.errstate(divide="ignore"):
        expected = np.log(share) - np.log(1 - share) - np.log(prior / (1 - prior))
    rates = error_rates(scores, labels)
    found = isotonic_llrs(*class_shares(rates))[np.searchsorted(np.unique(scores), scores)]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert min_cllr(rates) == pytest.approx(cllr(np.clip(expected, -700, 700), labels), abs=1e-12)
    assert 0 <= min_cllr(rates) <= 1 + 1e-12


def test_separable_scores_cost_nothing():
    assert min_cllr(error_rates([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])) == 0.0


@given(lists, st.sampled_from([0.01, 0.05, 0.5, 0.9]))
@settings(max_examples=100, deadline=None)
def test_actual_cost_by_a_loop(pairs, prior):
    threshold = math.log((1 - prior) / prior)
    misses = [score < threshold for score, label in pairs if label]
    alarms = [score >= threshold for score, label in pairs if not label]
    cost = prior * sum(misses) / len(misses) + (1 - prior) * sum(alarms) / len(alarms)
    found = actual_dcf([score for score, _ in pairs], [label for _, label in pairs], prior)
    assert found == pytest.approx(cost / min(prior, 1 - prior))


@given(lists)
@settings(max_examples=100, deadline=None)
def test_area_follows_scikit_learn(pairs):
    scores, labels = [s for s, _ in pairs], [label for _, label in pairs]
    assert area_under_roc(error_rates(scores, labels)) == pytest.approx(roc_auc_score(labels, scores))


@given(lists, st.sampled_from([0.0, 0.001, 0.1, 0.34, 1.0]))
@settings(max_examples=100, deadline=None)
def test_misses_at_a_rate_of_false_alarms_by_a_loop(pairs, most):
    own, other = [s for s, label in pairs if label], [s for s, label in pairs if not label]
    found = []
    for threshold in {*own, *other, 99}:
        if sum(s >= threshold for s in other) / len(other) <= most:
            found.append(sum(s < threshold for s in own) / len(own))
    rates = error_rates([s for s, _ in pairs], [label for _, label in pairs])
    assert miss_at_false_alarm(rates, most) == pytest.approx(min(found))


@pytest.mark.parametrize("function", [cllr, lambda s, y: actual_dcf(s, y, 0.01)])
@pytest.mark.parametrize("scores, labels", [([], []), ([1.0, 2.0], [1, 1]), ([1.0, float("nan")], [0, 1])])
def test_bad_lists_are_refused(function, scores, labels):
    with pytest.raises(InputError):
        function(scores, labels)


def test_bad_operating_points_are_refused():
    with pytest.raises(InputError, match=r"p_target=1.5 must lie in \(0, 1\)"):
        actual_dcf([0.0, 1.0], [0, 1], 1.5)
    with pytest.raises(InputError, match=r"false_alarm=2 must lie in \[0, 1\]"):
        miss_at_false_alarm(error_rates([0.0, 1.0], [0, 1]), 2)
