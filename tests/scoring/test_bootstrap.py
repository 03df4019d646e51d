"""The speaker bootstrap against lists in which trials are truly repeated."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from speakerlab import InputError
from speakerlab.scoring.bootstrap import (
    Difference,
    bootstrap_eer_interval,
    bootstrap_metrics,
    difference,
    holm,
    interval,
    paired_test,
)
from speakerlab.scoring.metrics import eer, error_rates, min_dcf, operating_point, verification_metrics

POINTS = ("0.01", "0.05", "sre08", 0.5, 0.9)


def make_trials(speakers, seed=0, decimals=2, trials=2000):
    """Scores with an effect of each speaker, so that trials of one speaker are not independent."""
    rng = np.random.default_rng(seed)
    enrol = rng.integers(0, speakers, trials)
    other = (enrol + rng.integers(1, speakers, trials)) % speakers
    labels = rng.integers(0, 2, trials)
    test = np.where(labels == 1, enrol, other)
    effect = rng.normal(size=speakers)
    scores = rng.normal(size=trials) + 3 * labels + effect[enrol] + effect[test]
    return np.round(scores, decimals), labels, enrol, test


def naive_draws(scores, labels, enrol, test, draws, seed):
    """EER and minDCF of each draw, of lists in which each trial stands as often as its speakers were drawn."""
    speakers = np.unique(np.concatenate((enrol, test)))
    rng = np.random.default_rng(seed)
    found = {"eer": [], **{f"min_dcf_{point}": [] for point in POINTS}}
    for _ in range(draws):
        drawn = list(speakers[rng.integers(len(speakers), size=len(speakers))])
        repeated = []
        for trial, (label, first, second) in enumerate(zip(labels, enrol, test)):
            times = drawn.count(first) * (1 if label else drawn.count(second))
            repeated += [trial] * times
        both = 0 < labels[repeated].sum() < len(repeated)
        rates = error_rates(scores[repeated], labels[repeated]) if both else None
        found["eer"].append(eer(rates)[0] if both else np.nan)
        for point in POINTS:
            found[f"min_dcf_{point}"].append(min_dcf(rates, *operating_point(point))[0] if both else np.nan)
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_equals_truly_repeated_trials(decimals):
    trials = make_trials(speakers=5, decimals=decimals, trials=60)
    expected = naive_draws(*trials, draws=60, seed=7)
    found = bootstrap_metrics(*trials, points=POINTS, draws=60, seed=7)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)
    bounds = np.nanquantile(expected["eer"], [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_eer_interval(*trials, draws=60, seed=7), bounds, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(10, 40), st.sampled_from([0, 1, 9]), st.booleans())
def test_equals_truly_repeated_trials_of_any_shape(seed, speakers, trials, decimals, constant):
    scores, labels, enrol, test = make_trials(speakers, seed, decimals, trials)
    assume(0 < labels.sum() < len(labels))
    scores = np.zeros(trials) if constant else scores
    expected = naive_draws(scores, labels, enrol, test, draws=8, seed=seed)
    assume(not np.isnan(expected["eer"]).all())
    found = bootstrap_metrics(scores, labels, enrol, test, points=POINTS, draws=8, seed=seed)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)


def test_contains_the_point_estimate():
    scores, labels, enrol, test = make_trials(speakers=30)
    low, high = bootstrap_eer_interval(scores, labels, enrol, test, draws=200)
    assert 0 <= low < verification_metrics(scores, labels)["eer"] < high <= 1


def test_is_wider_for_fewer_speakers_and_for_a_higher_level():
    def width(speakers, level):
        low, high = bootstrap_eer_interval(*make_trials(speakers), draws=200, level=level)
        return high - low

    assert width(8, 0.95) > 1.5 * width(200, 0.95)
    assert width(30, 0.99) > width(30, 0.8)


def test_repeats_for_a_seed_and_takes_names():
    scores, labels, enrol, test = make_trials(speakers=12)
    names = np.array([f"id{number:05d}" for number in range(12)])
    first = bootstrap_eer_interval(scores, labels, enrol, test, draws=20, seed=3)
    assert first == bootstrap_eer_interval(scores, labels, names[enrol], names[test], draws=20, seed=3)
    assert first != bootstrap_eer_interval(scores, labels, enrol, test, draws=20, seed=4)


def test_leaves_out_draws_of_one_class():
    # Of two speakers, half of all draws hold one of them twice, and no non-target trial.
    scores, labels, enrol, test = make_trials(speakers=2, trials=40)
    low, high = bootstrap_eer_interval(scores, labels, enrol, test, draws=50)
    assert low == pytest.approx(high) == pytest.approx(verification_metrics(scores, labels)["eer"])


@pytest.mark.parametrize(
    ("labels", "enrol", "test", "arguments", "message"),
    [
        ([1, 0], ["a", "a"], ["b", "b"], {}, "labels of 1 trials contradict"),
        ([1, 0], ["a", "a"], ["a", "a"], {}, "labels of 1 trials contradict"),
        ([1, 0], ["a"], ["a", "b"], {}, "needs an enrolment and a test speaker"),
        ([1, 1], ["a", "b"], ["a", "b"], {}, "need non-target trials"),
        ([1, 0], ["a", "a"], ["a", "b"], {"draws": 0}, "draws=0"),
        ([1, 0], ["a", "a"], ["a", "b"], {"level": 1}, "level=1"),
        # The one draw of seed 0 takes the second speaker twice, which leaves no trial at all.
        ([1, 0], ["a", "a"], ["a", "b"], {"draws": 1, "seed": 0}, "none of 1 draws of 2 speakers"),
    ],
)
def test_bad_arguments_are_named(labels, enrol, test, arguments, message):
    with pytest.raises(InputError, match=message):
        bootstrap_eer_interval([0.5, 0.1], labels, enrol, test, **arguments)


def two_systems(speakers=20, trials=600, better=0.5, seed=0):
    """One list, and the scores of two systems that share the speakers' effects; the second one's targets are higher."""
    first, labels, enrol, test = make_trials(speakers, seed, decimals=9, trials=trials)
    noise = 0.3 * np.random.default_rng(seed + 1).normal(size=trials)
    return first, first + better * labels + noise, labels, enrol, test


def test_paired_test_by_a_loop():
    first, second, labels, enrol, test = two_systems(speakers=6, trials=80)
    result = paired_test(first, second, labels, enrol, test, points=POINTS, draws=50, seed=3)
    one, two = (naive_draws(scores, labels, enrol, test, draws=50, seed=3) for scores in (first, second))
    for name, found in result.items():
        drawn = [b - a for a, b in zip(one[name], two[name]) if not np.isnan(a)]
        below, above = sum(d < 1e-10 for d in drawn), sum(d > -1e-10 for d in drawn)
        assert found.p_value == pytest.approx(min(1, 2 * (1 + min(below, above)) / (1 + len(drawn)))), name
        assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-12)
    value = eer(error_rates(second, labels))[0] - eer(error_rates(first, labels))[0]
    assert result["eer"].value == pytest.approx(value) and list(result) == ["eer", *(f"min_dcf_{p}" for p in POINTS)]


def test_pairing_finds_what_overlapping_intervals_hide():
    first, second, labels, enrol, test = two_systems()
    alone = [bootstrap_eer_interval(scores, labels, enrol, test, draws=300) for scores in (first, second)]
    assert alone[0][0] < alone[1][1], "the intervals overlap"
    found = paired_test(first, second, labels, enrol, test, draws=300)["eer"]
    assert found.value < 0 and found.high < 0 and found.p_value < 0.05
    turned = paired_test(second, first, labels, enrol, test, draws=300)["eer"]
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert turned.p_value == found.p_value


def test_a_system_does_not_differ_from_itself():
    scores, labels, enrol, test = make_trials(speakers=10)
    for found in paired_test(scores, 3 * scores - 7, labels, enrol, test, draws=50).values():
        assert found == Difference(0.0, 0.0, 0.0, 1.0)


def test_p_values_are_seldom_small_where_nothing_differs():
    """Two systems of equal merit: of 60 lists about 3 are below 0.05."""
    small = 0
    for seed in range(60):
        scores, labels, enrol, test = make_trials(speakers=20, seed=seed, decimals=9, trials=400)
        noise = np.random.default_rng(seed + 999).normal(size=(2, len(scores)))
        small += paired_test(*(scores + noise), labels, enrol, test, (), draws=100)["eer"].p_value < 0.05
    assert small <= 9


def test_missing_draws_do_not_count():
    one, two = np.array([0.1, np.nan, 0.3, 0.2]), np.array([0.2, np.nan, 0.2, 0.4])
    found = difference(0.2, 0.25, one, two)
    assert found.p_value == 1.0 and found.value == pytest.approx(0.05)
    assert interval(np.array([np.nan, 0.0, 1.0]), 0.5) == (0.25, 0.75)


def test_holm_against_its_definition():
    p_values = [0.001, 0.04, 0.03, 0.0002, 0.9, 0.03]
    ordered = sorted(p_values)
    for value, corrected in zip(p_values, holm(p_values)):
        steps = [(6 - i) * p for i, p in enumerate(ordered) if p <= value]
        assert corrected == pytest.approx(min(1.0, max(steps)))
    assert holm([]) == []


def test_memory_does_not_grow_with_the_draws():
    trials = make_trials(speakers=50, trials=50_000)

    def peak(draws):
        tracemalloc.start()
        bootstrap_metrics(*trials, draws=draws)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(60) < 1.1 * peak(5) and peak(5) < 25 * trials[0].nbytes
