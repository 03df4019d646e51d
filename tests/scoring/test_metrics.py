"""Error rates against a loop over all thresholds, scikit-learn, and scores whose answers are known."""

import importlib.util
import json
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from speakerlab import InputError
from speakerlab.scoring.metrics import (
    OPERATING_POINTS,
    eer,
    error_rates,
    min_dcf,
    min_dcf_point,
    operating_point,
    point_name,
    verification_metrics,
)


def naive_points(scores, labels):
    """(threshold, miss, false alarm) of each threshold at a score, and of one above all: O(trials^2)."""
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    points = []
    for threshold in [*sorted(set(scores)), np.inf]:
        accepted = scores >= threshold
        points.append((threshold, 1 - accepted[labels == 1].mean(), accepted[labels == 0].mean()))
    return points


def naive_eer(scores, labels):
    points = naive_points(scores, labels)
    for (_, miss, alarm), (_, next_miss, next_alarm) in zip(points, points[1:]):
        if next_miss >= next_alarm:
            # (1 - w) (miss - alarm) + w (next_miss - next_alarm) = 0
            weight = (alarm - miss) / (next_miss - miss + alarm - next_alarm)
            return (1 - weight) * alarm + weight * next_alarm
    raise AssertionError("the rates never cross")


def naive_min_dcf(scores, labels, p, c_miss=1.0, c_fa=1.0):
    costs = [c_miss * p * miss + c_fa * (1 - p) * alarm for _, miss, alarm in naive_points(scores, labels)]
    return min(costs) / min(c_miss * p, c_fa * (1 - p))


@st.composite
def trial_lists(draw):
    """Random, heavily tied and constant scores of 2 to 40 trials."""
    size = draw(st.integers(2, 40))
    values = draw(st.sampled_from([st.just(0.25), st.integers(0, 3), st.floats(-1, 1), st.floats(-1e300, 1e300)]))
    scores = draw(st.lists(values, min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, 1), min_size=size - 2, max_size=size - 2))
    return np.array(scores, dtype=np.float64), np.array([0, 1, *labels])


@settings(max_examples=60, deadline=None)
@given(trial_lists())
def test_equals_the_naive_loop(trials):
    scores, labels = trials
    rates = error_rates(scores, labels)
    expected = np.array(naive_points(scores, labels))
    np.testing.assert_allclose(rates.miss, expected[:, 1], atol=1e-12)
    np.testing.assert_allclose(rates.false_alarm, expected[:, 2], atol=1e-12)
    assert eer(rates)[0] == pytest.approx(naive_eer(scores, labels), abs=1e-12)
    for p, c_miss, c_fa in ((0.01, 1, 1), (0.05, 1, 1), (0.5, 1, 1), (0.9, 1, 1), (0.01, 10, 1)):
        assert min_dcf(rates, p, c_miss, c_fa)[0] == pytest.approx(naive_min_dcf(scores, labels, p, c_miss, c_fa))


@settings(max_examples=60, deadline=None)
@given(trial_lists())
def test_each_threshold_gives_its_rates(trials):
    scores, labels = trials
    rates = error_rates(scores, labels)
    assert np.isfinite(rates.thresholds).all()
    assert (np.diff(rates.thresholds) > 0).all()
    for threshold, miss, false_alarm in zip(rates.thresholds, rates.miss, rates.false_alarm):
        accepted = scores >= threshold
        assert 1 - accepted[labels == 1].mean() == pytest.approx(miss)
        assert accepted[labels == 0].mean() == pytest.approx(false_alarm)


@settings(max_examples=30, deadline=None)
@given(trial_lists(), st.randoms(use_true_random=False))
def test_order_of_trials_does_not_matter(trials, random):
    scores, labels = trials
    order = list(range(len(scores)))
    random.shuffle(order)
    assert verification_metrics(scores[order], labels[order]) == verification_metrics(scores, labels)


@settings(max_examples=60, deadline=None)
@given(trial_lists())
def test_equals_scikit_learn(trials):
    scores, labels = trials
    false_alarm, hit, _ = roc_curve(labels, scores, drop_intermediate=False)
    rates = error_rates(scores, labels)
    np.testing.assert_allclose(rates.false_alarm, false_alarm[::-1], atol=1e-12)
    np.testing.assert_allclose(rates.miss, 1 - hit[::-1], atol=1e-12)


SPEECHBRAIN = """
import json, sys
import torch
from speechbrain.utils.metric_stats import EER, minDCF
for line in sys.stdin:
    own, other = (torch.tensor(scores, dtype=torch.float64) for scores in json.loads(line))
    print(json.dumps([EER(own, other)[0], *(minDCF(own, other, p_target=p)[0] / p for p in (0.01, 0.05))]))
"""


@pytest.mark.slow
def test_agrees_with_speechbrain():
    """Its EER is the middle of the two rates at the threshold where they are nearest, not where they cross.

    In a process of its own: Hypothesis looks through all modules, and SpeechBrain has some that can't be looked at.
    """
    if importlib.util.find_spec("speechbrain") is None:
        pytest.skip("SpeechBrain is not installed")
    rng = np.random.default_rng(0)
    lists = []
    for decimals in (0, 1, 6):
        for size in (2, 3, 5, 20, 200):
            labels = np.append([0, 1], rng.integers(0, 2, size - 2))
            lists += [(np.round(rng.normal(size=size) + shift * labels, decimals), labels) for shift in (0, 1, 3)]
    lists.append((np.zeros(30), np.arange(30) % 2))
    given = [json.dumps([scores[labels == 1].tolist(), scores[labels == 0].tolist()]) for scores, labels in lists]
    command = [sys.executable, "-W", "ignore", "-c", SPEECHBRAIN]
    done = subprocess.run(command, input="\n".join(given), capture_output=True, text=True, timeout=120, check=True)
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    for (scores, labels), (rate, *costs) in zip(lists, theirs, strict=True):
        rates = error_rates(scores, labels)
        assert costs == pytest.approx([min_dcf(rates, p)[0] for p in (0.01, 0.05)], rel=1e-5)
        after = int(np.argmax(rates.miss >= rates.false_alarm))
        middle = 0.5 * (rates.miss + rates.false_alarm)[[after - 1, after]]
        assert np.isclose(middle, rate, atol=1e-6).any()
        if rates.miss[after] == rates.false_alarm[after]:
            assert eer(rates)[0] == pytest.approx(rate, abs=1e-6)


def test_many_trials_are_quick_and_small():
    """580,000 of them take 0.05 s on an idle core; memory is a few lists of them, whatever the scores."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 200_000)
    scores = rng.normal(size=len(labels)) + labels
    tracemalloc.start()
    began = time.process_time()
    verification_metrics(scores, labels)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1.0
    assert peak < 15 * scores.nbytes


def test_operating_points_by_name_and_by_prior():
    assert operating_point("voxsrc") == operating_point("0.05") == operating_point(0.05) == (0.05, 1.0, 1.0)
    assert operating_point("sre08") == (0.01, 10.0, 1.0) and set(OPERATING_POINTS) == {"voxsrc", "sre08", "sre10"}
    assert [point_name(point) for point in ("voxsrc", 0.5, "0.0010")] == ["voxsrc", "0.5", "0.001"]
    for wrong in ("vox", "", 0, 1.0, "nan", "-0.1"):
        with pytest.raises(InputError, match="neither a prior in .* nor one of voxsrc, sre08, sre10"):
            operating_point(wrong)


def test_float32_scores_and_boolean_labels():
    scores, labels = np.array([0.9, 0.7, 0.4, 0.2, 0.1], dtype=np.float32), np.array([1, 1, 0, 1, 0], dtype=bool)
    metrics = verification_metrics(scores, labels)
    assert metrics["eer"] == pytest.approx(1 / 3)
    assert (metrics["targets"], metrics["nontargets"]) == (3, 2)
    assert list(metrics) == ["eer", "threshold", "min_dcf_0.01", "min_dcf_0.05", "targets", "nontargets"]
    assert all(type(value) in (int, float) for value in metrics.values())  # as JSON and CSV want them


@pytest.mark.parametrize("labels", [[0, 1] * 50, [0] * 50 + [1] * 50, [1] * 50 + [0] * 50, [1] + [0] * 99])
def test_constant_scores_know_nothing(labels):
    metrics = verification_metrics([0.3] * 100, labels)
    assert metrics["eer"] == 0.5
    assert metrics["threshold"] == pytest.approx(0.3)
    assert metrics["min_dcf_0.01"] == metrics["min_dcf_0.05"] == 1.0


def test_perfect_separation():
    metrics = verification_metrics([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert metrics["eer"] == metrics["min_dcf_0.01"] == metrics["min_dcf_0.05"] == 0.0
    assert metrics["threshold"] == pytest.approx(0.5)


def test_inverted_scores():
    metrics = verification_metrics([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1])
    assert metrics["eer"] == 1.0
    assert metrics["min_dcf_0.01"] == 1.0


def test_two_trials():
    assert verification_metrics([1.0, 2.0], [0, 1])["eer"] == 0.0
    assert verification_metrics([1.0, 2.0], [1, 0])["eer"] == 1.0
    assert verification_metrics([1.0, 1.0], [1, 0])["eer"] == 0.5


@pytest.mark.parametrize("low", [0.3, -0.3, 0.0, 5e-324, 1e308])
def test_neighbouring_floats_are_told_apart(low):
    # No float lies between these two; a midpoint that rounds down to the lower one would accept it.
    high = np.nextafter(low, np.inf)
    for scores in ([low, high], [high, np.nextafter(high, np.inf)]):
        rates = error_rates(scores, [0, 1])
        assert eer(rates)[0] == 0
        assert (np.array(scores) >= eer(rates)[1]).tolist() == [False, True]


def test_threshold_lies_on_the_scale_of_the_scores():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20000)
    scores = 50 * (rng.normal(size=20000) + 2 * labels) - 300
    rate, threshold = eer(error_rates(scores, labels))
    assert (scores[labels == 0] >= threshold).mean() == pytest.approx(rate, abs=2e-4)
    assert (scores[labels == 1] < threshold).mean() == pytest.approx(rate, abs=2e-4)
    assert rate == pytest.approx(0.1587, abs=0.01)  # normal scores two standard deviations apart: Phi(-1)


def test_min_dcf_threshold_and_point_belong_together():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 500)
    scores = rng.normal(size=500) + 2 * labels
    rates = error_rates(scores, labels)
    cost, threshold = min_dcf(rates, 0.05)
    miss, false_alarm = min_dcf_point(rates, 0.05)
    assert (scores[labels == 1] < threshold).mean() == pytest.approx(miss)
    assert (scores[labels == 0] >= threshold).mean() == pytest.approx(false_alarm)
    assert cost == pytest.approx((0.05 * miss + 0.95 * false_alarm) / 0.05)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "no trials"),
        ([0.1, 0.2], [1, 1], "need non-target trials"),
        ([0.1, 0.2], [0, 0], "need target trials"),
        ([0.1, float("nan")], [0, 1], "1 of 2 scores are NaN"),
        ([0.1, float("inf")], [0, 1], "1 of 2 scores are NaN or infinite"),
        ([0.1, 0.2], [0, 2], "labels must be 0"),
        ([0.1, 0.2], [-1, 1], "labels must be 0"),
        ([0.1, 0.2], [0, 1, 1], r"\(2,\) and \(3,\)"),
        ([[0.1, 0.2]], [[0, 1]], r"\(1, 2\) and \(1, 2\)"),
    ],
)
def test_bad_lists_are_named(scores, labels, message):
    with pytest.raises(InputError, match=message) as error:
        verification_metrics(scores, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments", [{"p_target": 0}, {"p_target": 1}, {"p_target": 0.1, "c_miss": 0}])
def test_bad_costs_are_named(arguments):
    with pytest.raises(InputError, match="p_target=[01] |c_miss=0"):
        min_dcf(error_rates([0, 1], [0, 1]), **arguments)
