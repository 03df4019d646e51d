"""Pairs of systems, by hand."""

import numpy as np
import pytest

from speakerlab.scoring.bootstrap import difference, holm
from speakerlab.scoring.comparison import draws_for, pairs_of


def test_every_pair_has_its_own_test_and_a_corrected_p_value():
    rng = np.random.default_rng(0)
    centres = {"a": 0.1, "b": 0.102, "c": 0.3}
    drawn = {
        label: {"eer": rng.normal(centre, 0.01, 300), "cost": rng.normal(size=300)} for label, centre in centres.items()
    }
    metrics = {label: {"eer": centre, "cost": 0.0} for label, centre in centres.items()}
    pairs = pairs_of(metrics, drawn)
    assert [(pair.metric, pair.first, pair.second) for pair in pairs] == [
        (metric, *pair) for metric in ("eer", "cost") for pair in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    for pair in pairs:
        one, two = pair.first, pair.second
        assert pair.difference == difference(
            metrics[one][pair.metric], metrics[two][pair.metric], drawn[one][pair.metric], drawn[two][pair.metric]
        )
    assert [pair.p_value for pair in pairs[:3]] == holm(pair.difference.p_value for pair in pairs[:3])
    assert [pair.is_significant for pair in pairs] == [False, True, True, False, False, False]
    assert pairs[0].difference.value == pytest.approx(0.002)


def test_many_pairs_get_draws_enough_to_be_significant():
    for systems in range(2, 20):
        pairs, draws = systems * (systems - 1) // 2, draws_for(systems, None)
        assert holm([2 / (1 + draws)] * pairs)[0] < 0.05
