import numpy as np
import pytest

from speakerlab.scoring.conditions import by_condition, quantile_parts
from speakerlab.scoring.metrics import verification_metrics


def trials(speakers: int = 8, seed: int = 0):
    """Scores, labels and both speakers of trials among a number of speakers."""
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, speakers, (2, 600))
    labels = (first == second).astype(np.int8)
    return generator.normal(size=600) + 1.5 * labels, labels, (first, second)


def test_each_part_is_what_its_own_trials_give():
    scores, labels, sides = trials()
    part = np.arange(600) % 3 == 0
    found = by_condition(scores, labels, {"third": part, "all": np.full(600, True)}, sides, 0.7, draws=100)
    expected = verification_metrics(scores[part], labels[part])
    third = found["third"]
    assert (third.eer, third.targets, third.nontargets) == tuple(
        expected[name] for name in ("eer", "targets", "nontargets")
    )
    assert third.miss == pytest.approx(np.mean(scores[part & (labels == 1)] < 0.7))
    assert third.false_alarm == pytest.approx(np.mean(scores[part & (labels == 0)] >= 0.7))
    assert third.low < third.eer < third.high
    assert found["all"].high - found["all"].low < third.high - third.low


def test_what_a_part_cannot_give_is_none():
    scores, labels, sides = trials()
    found = by_condition(scores, labels, {"targets": labels == 1, "non": labels == 0}, sides, 0.7, draws=100)
    assert (found["targets"].eer, found["targets"].false_alarm, found["targets"].nontargets) == (None, None, 0)
    assert (found["non"].eer, found["non"].miss, found["non"].targets) == (None, None, 0)
    assert found["targets"].miss is not None and found["non"].false_alarm is not None
    everything = {"all": np.full(600, True)}
    few, many = trials(speakers=4), trials(speakers=5)
    assert by_condition(*few[:2], everything, few[2], 0.7, draws=100)["all"].low is None
    assert by_condition(*many[:2], everything, many[2], 0.7, draws=100)["all"].low is not None
    assert by_condition(*many[:2], everything, many[2], 0.7, draws=0)["all"].low is None


def test_quantile_parts_share_out_what_is_known():
    values = np.append(np.random.default_rng(0).gamma(4, 2, 1000), [np.nan] * 5)
    parts = quantile_parts(values, "s")
    assert len(parts) == 4
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()), np.isfinite(values))
    assert all(220 < part.sum() < 280 for part in parts.values())
    for name, part in parts.items():
        low, high = float(name.split()[0]), float(name.split()[-2])
        assert np.all((values[part] >= low - 0.05) & (values[part] <= high + 0.05))


def test_equal_values_make_no_parts():
    assert quantile_parts(np.full(10, 3.0), "s") == {}
    assert quantile_parts(np.full(10, np.nan), "s") == {}
    parts = quantile_parts(np.repeat([1.0, 2.0, 3.0], [98, 1, 1]), "s")
    assert parts == {}  # nearly all are alike
    parts = quantile_parts(np.repeat([1.0, 2.0], [50, 50]), "s")
    assert [part.sum() for part in parts.values()] in ([50, 50], [100])
