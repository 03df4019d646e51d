"""Normalised scores against a double loop over trials and impostors."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring.normalisation import cohort_statistics, normalise


def embeddings(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 8)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("kind", ["z", "t", "s"])
@pytest.mark.parametrize("top", [None, 5])
@pytest.mark.parametrize("block_bytes", [1, 700, 2**28])
def test_a_loop_over_trials_and_impostors(kind, top, block_bytes):
    rows, cohort = embeddings(12, 0), embeddings(40, 1)
    generator = np.random.default_rng(2)
    enrol, test = generator.integers(0, 12, (2, 60))
    scores = np.array([cosine(rows[a], rows[b]) for a, b in zip(enrol, test, strict=True)])
    expected = []
    for score, a, b in zip(scores, enrol, test, strict=True):
        parts = []
        for side in {"z": [a], "t": [b], "s": [a, b]}[kind]:
            impostors = sorted((cosine(rows[side], other) for other in cohort), reverse=True)[:top]
            mean = sum(impostors) / len(impostors)
            deviation = (sum((x - mean) ** 2 for x in impostors) / len(impostors)) ** 0.5
            parts.append((score - mean) / deviation)
        expected.append(sum(parts) / len(parts))
    found = normalise(scores, enrol, test, cohort_statistics(rows, cohort, top, block_bytes), kind)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_impostors_end_at_mean_nothing_and_deviation_one():
    """Z-norm is made for this: the trials of each model against the cohort itself."""
    rows, cohort = embeddings(5, 3), embeddings(300, 4)
    scores = np.array([[cosine(row, other) for other in cohort] for row in rows])
    enrol = np.repeat(np.arange(5), 300)
    found = normalise(scores.ravel(), enrol, enrol, cohort_statistics(rows, cohort), "z").reshape(5, 300)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("top", [1, 0, 41])
def test_too_few_or_many_impostors_are_refused(top):
    with pytest.raises(InputError, match=f"by {top} impostors needs 2 to 40"):
        cohort_statistics(embeddings(3, 0), embeddings(40, 1), top)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="two tables of one dim"):
        cohort_statistics(embeddings(3, 0), embeddings(40, 1)[:, :4])
    statistics = np.zeros(3), np.array([1.0, 0.0, 1.0])
    with pytest.raises(InputError, match="utterance 1 has the same score"):
        normalise(np.zeros(2), np.array([0, 1]), np.array([2, 2]), statistics, "s")
    with pytest.raises(InputError, match="'as' must be one of z, t, s"):
        normalise(np.zeros(2), np.array([0, 1]), np.array([2, 2]), statistics, "as")
