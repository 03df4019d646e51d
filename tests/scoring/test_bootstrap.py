"""The speaker bootstrap against lists in which trials are truly repeated."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring.bootstrap import bootstrap_eer_interval
from speakerlab.scoring.metrics import eer, error_rates, verification_metrics


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


def naive_interval(scores, labels, enrol, test, draws, seed):
    speakers = np.unique(np.concatenate((enrol, test)))
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(draws):
        drawn = list(speakers[rng.integers(len(speakers), size=len(speakers))])
        repeated = []
        for trial, (label, first, second) in enumerate(zip(labels, enrol, test)):
            times = drawn.count(first) * (1 if label else drawn.count(second))
            repeated += [trial] * times
        if 0 < labels[repeated].sum() < len(repeated):
            rates.append(eer(error_rates(scores[repeated], labels[repeated]))[0])
    return np.quantile(rates, [0.025, 0.975])


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_equals_truly_repeated_trials(decimals):
    trials = make_trials(speakers=5, decimals=decimals, trials=60)
    interval = bootstrap_eer_interval(*trials, draws=40, seed=7)
    np.testing.assert_allclose(interval, naive_interval(*trials, draws=40, seed=7), atol=1e-12)


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
