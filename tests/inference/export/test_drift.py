import numpy as np
import pytest

from speakerlab.inference.export.drift import largest_difference, measure_drift
from speakerlab.inference.export.specimens import Specimens

PAIRS = np.array([[0, 1], [0, 2], [1, 2], [2, 3]])


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)


def cosine(x, y) -> float:
    return float(x.astype(np.float64) @ y / np.linalg.norm(x.astype(np.float64)) / np.linalg.norm(y.astype(np.float64)))


def test_a_naive_loop():
    exact, found = rows(), rows() + 0.01 * rows(1)
    differences = [abs(cosine(found[i], found[j]) - cosine(exact[i], exact[j])) for i, j in PAIRS]
    drift = measure_drift(found, exact, Specimens([], "4 things", PAIRS))
    assert drift.largest == pytest.approx(max(differences), abs=1e-7)
    assert drift.mean == pytest.approx(np.mean(differences), abs=1e-7)
    assert (drift.pairs, drift.recordings, drift.eer) == (4, "4 things", None)
    assert drift.plain().keys() == {"largest", "mean", "pairs", "recordings"}
    assert len(drift.lines()) == 1


def test_error_rates_before_and_after():
    """Targets that score higher than all others, until one row turns round."""
    exact = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    found = exact * [[1], [1], [1], [-1]]
    drift = measure_drift(found, exact, Specimens([], "", PAIRS, np.array([1, 0, 0, 1])))
    assert (drift.eer_exact, drift.eer) == (0.0, 0.5)
    assert "50.00 %, and 0.00 % before" in drift.lines()[1]


def test_the_largest_difference_bounds_every_cosine():
    exact = 100 * rows()
    found = exact + np.array([[0], [0], [1], [0]], np.float32) * 0.5 * rows(1)
    expected = max(np.linalg.norm(found[i] - exact[i]) / np.linalg.norm(exact[i]) for i in range(4))
    assert largest_difference(found, exact) == pytest.approx(expected, rel=1e-6)
    assert measure_drift(found, exact, Specimens([], "", PAIRS)).largest <= expected
    assert largest_difference(exact, exact) == 0
    found[1, 1] = np.nan
    assert not largest_difference(found, exact) <= 1e-4
