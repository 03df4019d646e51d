"""Measures of how much a trial's two recordings tell, beside which a score is calibrated.

Mandasari, Saeidi, McLaren, van Leeuwen: "Quality Measure Functions for Calibration of Speaker Recognition Systems in
Various Duration Conditions", IEEE TASLP 2013; Thienpondt, Desplanques, Demuynck: "The IDLab VoxSRC-20 Submission",
ICASSP 2021.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Logarithm of the duration; length of the embedding; mean score with the cohort.
MEASURES = ("duration", "magnitude", "cohort_mean")


def quality_columns(values: dict[str, ArrayLike], enrol: NDArray, test: NDArray) -> dict[str, NDArray[np.float64]]:
    """The lower and the higher value of each trial's two sides, which do not depend on their order.

    Args:
        values: measure -> `(utterances,)`.
        enrol, test: `(trials,)` rows of these.

    Returns:
        `<measure>_low` and `<measure>_high`, each `(trials,)`.
    """
    columns = {}
    for name, of_utterances in values.items():
        value = np.asarray(of_utterances, np.float64)
        columns[f"{name}_low"] = np.minimum(value[enrol], value[test])
        columns[f"{name}_high"] = np.maximum(value[enrol], value[test])
    return columns
