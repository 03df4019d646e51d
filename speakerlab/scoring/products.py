"""Scores that are products of two rows, one a side: of chosen pairs, and of all pairs with a cohort.

Every back end brings embeddings into rows whose product is the score, so that one trial costs one product whatever the
back end, and a cohort one matrix product.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speakerlab import InputError

BLOCK = 4096  # trials scored at once; so many rows of 192 numbers stay in the cache
BLOCK_BYTES = 2**26  # of products held at a time, where they are matrices
# A pair costs so much less in a matrix product than a trial whose two rows are gathered (measured on one core: 5 to 20
# times where all embeddings are in the cache and either takes milliseconds, 30 to 100 times where they are not).
DENSE = 8


def trial_products(
    left: NDArray, right: NDArray, enrol: NDArray, test: NDArray, block: int = BLOCK, block_bytes: int = BLOCK_BYTES
) -> NDArray[np.floating]:
    """Product of row `enrol` of the left side with row `test` of the right side, for each trial: `(trials,)`.

    Rows are gathered, `block` trials at a time. Only a list that has at least one in `DENSE` of all pairs of its
    utterances is computed by matrix products, of which at most `block_bytes` are held.

    Args:
        left, right: `(utterances, dim)`.
        enrol, test: `(trials,)`, rows of them.
        block: trials that are gathered at once.
        block_bytes: see above.
    """
    scores = np.empty(len(enrol), dtype=np.result_type(left, right))
    if len(enrol) and _is_dense(enrol, test):
        _matrix_products(scores, left, right, enrol, test, block_bytes)
        return scores
    for first in range(0, len(enrol), block):
        part = slice(first, first + block)
        np.einsum("td,td->t", left[enrol[part]], right[test[part]], out=scores[part])
    return scores


def product_statistics(
    rows: NDArray,
    cohort: NDArray,
    top: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each row's products with a cohort, or of the `top` highest of them.

    The products are computed in blocks of rows; the highest are selected, not sorted.

    Args:
        rows: `(utterances, dim)`, one side.
        cohort: `(impostors, dim)`, the other side.
        top: how many; None takes all.
        block_bytes: bound of the products held at a time, but for one row's; the work on them takes as much again.
        progress: called with (rows done, rows).

    Returns:
        means and deviations `(utterances,)`.

    Raises:
        InputError: if the sizes do not fit, or fewer than two impostors are asked for or there.
    """
    if rows.ndim != 2 or cohort.ndim != 2 or rows.shape[1] != cohort.shape[1]:
        raise InputError(f"embeddings {rows.shape} and cohort {cohort.shape} must be two tables of one dim")
    count = len(cohort) if top is None else top
    if not 2 <= count <= len(cohort):
        raise InputError(f"score normalisation by {count} impostors needs 2 to {len(cohort)}, the cohort's size")
    means, deviations = np.empty(len(rows)), np.empty(len(rows))
    columns = np.ascontiguousarray(cohort.T)
    step = max(1, block_bytes // (len(cohort) * np.result_type(rows, cohort).itemsize))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        products = rows[part] @ columns  # (block, impostors)
        if count < len(cohort):
            products.partition(len(cohort) - count, axis=1)
            products = products[:, len(cohort) - count :]
        means[part] = products.mean(axis=1, dtype=np.float64)
        products -= means[part, None].astype(products.dtype)  # in place: a deviation of NumPy's takes two more blocks
        np.square(products, out=products)
        deviations[part] = np.sqrt(products.mean(axis=1, dtype=np.float64))
        if progress is not None:
            progress(min(first + step, len(rows)), len(rows))
    return means, deviations


def _is_dense(enrol: NDArray, test: NDArray) -> bool:
    pairs = np.count_nonzero(np.bincount(enrol)) * np.count_nonzero(np.bincount(test))
    return pairs <= DENSE * len(enrol)


def _matrix_products(
    scores: NDArray, left: NDArray, right: NDArray, enrol: NDArray, test: NDArray, block_bytes: int
) -> None:
    """Fills `scores` `(trials,)` from blocks of all pairs of the utterances that are enrolled and tested."""
    enrolled, row = np.unique(enrol, return_inverse=True)  # row and column of each trial among all pairs
    tested, column = np.unique(test, return_inverse=True)
    columns = np.ascontiguousarray(right[tested].T)
    step = max(1, block_bytes // (len(tested) * scores.itemsize))
    order = np.argsort(row, kind="stable")
    bounds = np.searchsorted(row[order], np.arange(0, len(enrolled) + step, step))
    for number, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        first, part = number * step, order[start:end]
        products = left[enrolled[first : first + step]] @ columns
        scores[part] = products[row[part] - first, column[part]]
