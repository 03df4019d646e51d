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
from speakerlab.scoring.products import BLOCK_BYTES, product_statistics

KINDS = ("z", "t", "s")


def cohort_statistics(
    embeddings: NDArray, cohort: NDArray, top: int | None = None, block_bytes: int = BLOCK_BYTES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each embedding's cosines with a cohort, or with its `top` nearest in it.

    Args:
        embeddings: `(utterances, dim)`, one row at least.
        cohort: `(impostors, dim)`; usually the mean of each training speaker.
        top, block_bytes, errors and what is returned: see `speakerlab.scoring.products.product_statistics`.
    """
    return product_statistics(unit_rows(embeddings), unit_rows(cohort), top, block_bytes)


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
        statistics: as `cohort_statistics` or `product_statistics` gives them; with `top`, the forms are adaptive.
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
