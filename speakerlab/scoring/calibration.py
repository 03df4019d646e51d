"""Calibration and fusion: scores of one or several systems, and measures of quality, made into log-likelihood ratios.

Brümmer et al.: "Fusion of Heterogeneous Speaker Recognition Systems in the STBU Submission for the NIST Speaker
Recognition Evaluation 2006", IEEE TASLP 2007; Thienpondt, Desplanques, Demuynck: "The IDLab VoxSRC-20 Submission: Large
Margin Fine-Tuning and Quality-Aware Score Calibration in DNN Based Speaker Verification", ICASSP 2021 (quality
measures).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.metrics import checked_trials


@dataclass(frozen=True)
class Calibration:
    """A log-likelihood ratio that is a weighted sum of columns, plus an offset.

    Attributes:
        names: of the columns: systems first, then measures of quality.
        weights: `(columns,)`.
        offset: added to the sum.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float

    def llrs(self, columns: ArrayLike) -> NDArray[np.float64]:
        """`(trials, columns)` -> log-likelihood ratios `(trials,)`.

        Raises:
            InputError: for another number of columns.
        """
        return _table(columns, len(self.names)) @ np.array(self.weights) + self.offset

    def threshold(self, p_target: float = 0.5, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
        """The score of a single system from which on its trials are accepted at an operating point.

        Raises:
            InputError: if there are several columns, or the score does not rise with the ratio.
        """
        if len(self.weights) != 1 or not self.weights[0] > 0:
            raise InputError("only the calibration of one system, with a positive weight, is a threshold on its scores")
        wanted = np.log(c_fa * (1 - p_target)) - np.log(c_miss * p_target)
        return float((wanted - self.offset) / self.weights[0])


def train_calibration(
    columns: ArrayLike, labels: ArrayLike, names: tuple[str, ...] = ("score",), p_target: float = 0.01
) -> Calibration:
    """The weights that make the ratios most likely, targets counted as `p_target` of all trials whatever their share.

    Args:
        columns: `(trials, columns)` scores, and measures of quality, of development trials.
        labels: `(trials,)`.
        names: of the columns.
        p_target: where the ratios are to be good; low for verification.

    Raises:
        InputError: see `checked_trials`; for columns that are not finite, too large or constant, or of another number
            than `names`.
    """
    from sklearn.linear_model import LogisticRegression

    if not 0 < p_target < 1:
        raise InputError(f"p_target={p_target} must lie between 0 and 1, both excluded")
    table = _table(columns, len(names))
    for name, column in zip(names, table.T, strict=True):
        _, is_target = checked_trials(column, labels)
        if np.ptp(column) == 0:
            raise InputError(f"calibration: {name} is the same in all trials")
    with np.errstate(over="ignore"):
        centre, spread = table.mean(axis=0), table.std(axis=0)
    if not np.isfinite(spread).all():
        name, largest = names[int(np.argmin(np.isfinite(spread)))], np.abs(table).max()
        raise InputError(f"calibration: {name} is too large to be computed with, up to {largest:.3g}")
    targets = np.count_nonzero(is_target)
    weights = {True: p_target / targets, False: (1 - p_target) / (len(is_target) - targets)}
    # Sums of the classes' weights are p and 1 - p, so that the fitted logarithm of odds has the prior's in it. The
    # penalty only keeps separable trials finite.
    fit = LogisticRegression(C=1e6, max_iter=1000, tol=1e-10)
    fit.fit((table - centre) / spread, is_target, sample_weight=np.where(is_target, weights[True], weights[False]))
    slopes = fit.coef_[0] / spread
    offset = float(fit.intercept_[0] - slopes @ centre - np.log(p_target / (1 - p_target)))
    return Calibration(tuple(names), tuple(map(float, slopes)), offset)


def _table(columns: ArrayLike, count: int) -> NDArray[np.float64]:
    table = np.asarray(columns, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.shape[1] != count:
        raise InputError(f"calibration is of {count} columns, not of a table of the shape {table.shape}")
    return table
