"""Cosine scores of trials."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.products import BLOCK, trial_products


def cosine_scores(
    embeddings: ArrayLike,
    enrol: ArrayLike,
    test: ArrayLike,
    block: int = BLOCK,
    mean: ArrayLike | None = None,
) -> NDArray[np.floating]:
    """Cosine of the two embeddings of each trial.

    Each embedding is normalised once, not once a trial; memory beyond that is two blocks of `block * dim` numbers, or
    what `trial_products` says of a dense list.

    Args:
        embeddings: `(utterances, dim)`; float64 is scored in float64, everything else in float32.
        enrol: `(trials,)`, rows of `embeddings`.
        test: `(trials,)`, rows of `embeddings`.
        block: trials that are scored at once.
        mean: `(dim,)`, subtracted from each embedding first (the mean of training or cohort embeddings).

    Returns:
        `(trials,)` scores in [-1, 1].

    Raises:
        InputError: if an embedding is zero, NaN or infinite after the mean is subtracted, if shapes do not fit or if a
            trial names a row that does not exist.

    >>> cosine_scores([[1.0, 0.0], [3.0, 3.0]], enrol=[0, 0], test=[0, 1]).round(4).tolist()
    [1.0, 0.7071]
    """
    if block < 1:
        raise InputError(f"block={block} must be at least 1")
    units = unit_rows(embeddings, mean)
    enrol, test = _rows(enrol, "enrol", len(units)), _rows(test, "test", len(units))
    if len(enrol) != len(test):
        raise InputError(f"enrol has {len(enrol)} rows and test has {len(test)}; each trial needs one of both")
    scores = trial_products(units, units, enrol, test, block)
    return scores.clip(-1.0, 1.0, out=scores)  # rounding may leave [-1, 1], which an arc cosine would not survive


def unit_rows(embeddings: ArrayLike, mean: ArrayLike | None = None) -> NDArray[np.floating]:
    """`(utterances, dim)` rows of length 1; errors as in `cosine_scores`."""
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2:
        raise InputError(f"embeddings must have the shape (utterances, dim), not {embeddings.shape}")
    if embeddings.dtype != np.float64:
        embeddings = embeddings.astype(np.float32)
    if mean is not None:
        mean = np.asarray(mean, dtype=embeddings.dtype)
        if mean.shape != embeddings.shape[1:]:
            raise InputError(f"mean has the shape {mean.shape}, the embeddings have {embeddings.shape[1]} dimensions")
        embeddings = embeddings - mean
    norms = np.linalg.norm(embeddings, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise InputError(f"{len(bad)} of {len(norms)} embeddings are zero, NaN or infinite; the first is row {bad[0]}")
    return embeddings / norms[:, None]


def _rows(indices: ArrayLike, name: str, count: int) -> NDArray[np.integer]:
    """Row numbers `(trials,)`, checked: NumPy would read -1 as the last row."""
    indices = np.asarray(indices)
    if indices.size == 0 and indices.ndim == 1:
        return indices.astype(np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise InputError(f"{name} must be a list of row numbers, not {indices.dtype} of the shape {indices.shape}")
    if indices.min() < 0 or indices.max() >= count:
        found = f"{indices.min()} to {indices.max()}"
        raise InputError(f"{name} names rows {found}; the embeddings have rows 0 to {count - 1}")
    return indices
