"""Score normalisation against a cohort: Z-norm, T-norm, S-norm and their adaptive forms.

Auckenthaler, Carey, Lloyd-Thomas: "Score Normalization for Text-Independent Speaker Verification Systems", Digital
Signal Processing, 2000 (Z and T); Kenny: "Bayesian Speaker Verification with Heavy-Tailed Priors", Odyssey 2010 (S);
Matějka, Novotný, Plchot, Burget, Sánchez, Černocký: "Analysis of Score Normalization in Multilingual Speaker
Recognition", Interspeech 2017 (adaptive S-norm, its first form).
"""

import numpy as np
from numpy.typing import NDArray

from speakerlab import InputError
from speakerlab.scoring.cosine import unit_rows

KINDS = ("z", "t", "s")
BLOCK_BYTES = 2**28  # of scores against the cohort at a time


def cohort_statistics(
    embeddings: NDArray, cohort: NDArray, top: int | None = None, block_bytes: int = BLOCK_BYTES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each embedding's cosines with a cohort, or with its `top` nearest in it.

    The cosines are computed in blocks of rows; the nearest are selected, not sorted.

    Args:
        embeddings: `(utterances, dim)`, one row at least.
        cohort: `(impostors, dim)`; usually the mean of each training speaker.
        top: nearest impostors a row; None takes all.
        block_bytes: bound of the cosines held at a time, but for one row's.

    Returns:
        means and deviations `(utterances,)`.

    Raises:
        InputError: if the sizes do not fit, or fewer than two impostors are asked for or there.
    """
    if embeddings.ndim != 2 or cohort.ndim != 2 or embeddings.shape[1] != cohort.shape[1]:
        raise InputError(f"embeddings {embeddings.shape} and cohort {cohort.shape} must be two tables of one dim")
    count = len(cohort) if top is None else top
    if not 2 <= count <= len(cohort):
        raise InputError(f"score normalisation by {count} impostors needs 2 to {len(cohort)}, the cohort's size")
    columns = unit_rows(cohort).T
    rows = unit_rows(embeddings)
    means, deviations = np.empty(len(rows)), np.empty(len(rows))
    step = max(1, block_bytes // (columns.shape[1] * columns.itemsize))
    for first in range(0, len(rows), step):
        cosines = rows[first : first + step] @ columns  # (block, impostors)
        if count < len(cohort):
            cosines.partition(len(cohort) - count, axis=1)
            cosines = cosines[:, len(cohort) - count :]
        means[first : first + step] = cosines.mean(axis=1, dtype=np.float64)
        deviations[first : first + step] = cosines.std(axis=1, dtype=np.float64)
    return means, deviations


def normalise(
    scores: NDArray,
    enrol: NDArray,
    test: NDArray,
    statistics: tuple[NDArray[np.float64], NDArray[np.float64]],
    kind: str = "s",
) -> NDArray[np.float64]:
    """Scores in deviations above what impostors get: of the enrolled side (`z`), of the tested (`t`), their mean (`s`).

    Args:
        scores: `(trials,)`.
        enrol, test: `(trials,)`, rows of the embeddings that the statistics are of.
        statistics: as `cohort_statistics` gives them; with `top`, the forms are adaptive.
        kind: one of `KINDS`.

    Raises:
        InputError: for another kind, or where an utterance scores the same with all its impostors.
    """
    if kind not in KINDS:
        raise InputError(f"score normalisation {kind!r} must be one of {', '.join(KINDS)}")
    means, deviations = statistics
    sides = {"z": (enrol,), "t": (test,), "s": (enrol, test)}[kind]
    total = np.zeros(len(scores))
    for side in sides:
        spread = deviations[side]
        if not spread.all():
            raise InputError(f"utterance {int(side[np.argmin(spread)])} has the same score with all of its impostors")
        total += (scores - means[side]) / spread
    return total / len(sides)
