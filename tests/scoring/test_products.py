"""Products of chosen pairs and with a cohort, against loops over them."""

import tracemalloc

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring import products
from speakerlab.scoring.products import product_statistics, trial_products


def rows(count: int, seed: int, dim: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim))


def pairs(count: int, utterances: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    enrol, test = np.random.default_rng(seed).integers(0, utterances, (2, count))
    return enrol, test


def loop(left, right, enrol, test) -> list[float]:
    return [sum(x * y for x, y in zip(left[a], right[b], strict=True)) for a, b in zip(enrol, test, strict=True)]


# 40 trials over 40 utterances are sparse; 300 over 12 name all pairs, many twice.
@pytest.mark.parametrize("trials, utterances", [(40, 40), (300, 12), (1, 5), (0, 5)])
@pytest.mark.parametrize("block, block_bytes", [(1, 1), (7, 200), (4096, 2**26)])
def test_a_loop_over_trials(trials, utterances, block, block_bytes):
    left, right = rows(utterances, 1), rows(utterances, 2)
    enrol, test = pairs(trials, utterances)
    found = trial_products(left, right, enrol, test, block, block_bytes)
    assert found.shape == (trials,)
    np.testing.assert_allclose(found, loop(left, right, enrol, test), atol=1e-12)


@pytest.mark.parametrize("utterances, matrices", [(40, False), (12, True)])
def test_a_matrix_only_where_the_list_is_dense(monkeypatch, utterances, matrices):
    used = []
    original = products._matrix_products
    monkeypatch.setattr(products, "_matrix_products", lambda *given: used.append(original(*given)))
    monkeypatch.setattr(products, "DENSE", 4)
    enrol, test = pairs(200, utterances)
    assert (len(set(enrol)) * len(set(test)) <= 4 * 200) == matrices
    trial_products(rows(utterances, 1), rows(utterances, 2), enrol, test)
    assert bool(used) == matrices


def test_a_dense_list_in_any_order_of_far_apart_rows():
    left, right = rows(1000, 3), rows(1000, 4)
    enrol, test = (side.ravel() for side in np.meshgrid([999, 3, 500], [7, 0, 998, 6]))
    order = np.random.default_rng(0).permutation(12)
    found = trial_products(left, right, enrol[order], test[order], block_bytes=40)
    np.testing.assert_allclose(found, loop(left, right, enrol[order], test[order]), atol=1e-12)


def test_the_memory_is_bounded():
    """All pairs of these would take 32 MB, and so would all products with the cohort."""
    left = rows(2000, 0).astype(np.float32)
    enrol, test = np.arange(2000).repeat(100), np.tile(np.arange(2000), 100)
    for work in (
        lambda: trial_products(left, left, enrol, test, block_bytes=2**20),
        lambda: product_statistics(left, rows(4000, 1).astype(np.float32), 300, block_bytes=2**20),
    ):
        work()
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 14e6


@pytest.mark.parametrize("top", [None, 2, 9, 40])
@pytest.mark.parametrize("block_bytes", [1, 1000, 2**26])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_statistics_of_a_loop(top, block_bytes, dtype):
    left, cohort = rows(12, 5), rows(40, 6)
    states = []
    means, deviations = product_statistics(
        left.astype(dtype), cohort.astype(dtype), top, block_bytes, lambda *state: states.append(state)
    )
    for row in range(12):
        impostors = sorted(loop(left, cohort, [row] * 40, range(40)), reverse=True)[:top]
        mean = sum(impostors) / len(impostors)
        spread = (sum((x - mean) ** 2 for x in impostors) / len(impostors)) ** 0.5
        tolerance = 1e-12 if dtype == np.float64 else 1e-5
        assert means[row] == pytest.approx(mean, abs=tolerance)
        assert deviations[row] == pytest.approx(spread, abs=tolerance)
    assert states[-1] == (12, 12) and states == sorted(states)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="two tables of one dim"):
        product_statistics(rows(3, 0), rows(4, 0, dim=5))
    for top in (1, 5):
        with pytest.raises(InputError, match=f"by {top} impostors needs 2 to 4"):
            product_statistics(rows(3, 0), rows(4, 0), top)
