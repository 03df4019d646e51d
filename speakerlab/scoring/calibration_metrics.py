"""How well scores work as log-likelihood ratios, and rates at operating points: pure functions in float64.

Brümmer, du Preez: "Application-independent evaluation of speaker detection", Computer Speech and Language, 2006 (Cllr,
its minimum and actual costs); Fawcett: "An introduction to ROC analysis", Pattern Recognition Letters, 2006.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.metrics import ErrorRates, checked_trials


def actual_dcf(llrs: ArrayLike, labels: ArrayLike, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """Normalised detection cost of log-likelihood ratios `(trials,)` at the threshold that theory gives,
    `log(c_fa (1 - p)) - log(c_miss p)`; that of `min_dcf` where they are calibrated.

    Raises:
        InputError: see `checked_trials`; if the prior or a cost is out of range.
    """
    llrs, is_target = checked_trials(llrs, labels)
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise InputError(f"p_target={p_target} must lie in (0, 1), c_miss={c_miss} and c_fa={c_fa} above 0")
    miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1 - p_target)
    accepted = llrs >= np.log(false_alarm_weight) - np.log(miss_weight)
    cost = miss_weight * np.mean(~accepted[is_target]) + false_alarm_weight * np.mean(accepted[~is_target])
    return float(cost / min(miss_weight, false_alarm_weight))


def cllr(llrs: ArrayLike, labels: ArrayLike) -> float:
    """Cost of log-likelihood ratios `(trials,)` in bits, over all operating points: 0 is perfect, 1 says nothing.

    Raises:
        InputError: see `checked_trials`.
    """
    llrs, is_target = checked_trials(llrs, labels)
    bits = np.logaddexp(0.0, -llrs[is_target]).mean() + np.logaddexp(0.0, llrs[~is_target]).mean()
    return float(0.5 * bits / np.log(2.0))


def min_cllr(rates: ErrorRates) -> float:
    """The `cllr` of the best rising function of the scores: what calibration can't mend."""
    own, other = class_shares(rates)
    llrs = isotonic_llrs(own, other)
    is_own, is_other = own > 0, other > 0  # nothing times an infinite cost is no cost
    bits = own[is_own] @ np.logaddexp(0.0, -llrs[is_own]) + other[is_other] @ np.logaddexp(0.0, llrs[is_other])
    return float(0.5 * bits / np.log(2.0))


def class_shares(rates: ErrorRates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of all targets, and of all non-targets, at each distinct score from the lowest on: `(points - 1,)` each."""
    return np.diff(rates.miss), -np.diff(rates.false_alarm)


def isotonic_llrs(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(scores,)` log-likelihood ratios that never fall and fit the labels best (pool adjacent violators); infinite
    where the scores separate the classes.

    Args:
        own, other: see `class_shares`.
    """
    from scipy.optimize import isotonic_regression

    weight = own + other  # both classes count the same, which is what makes ratios of the shares
    share = isotonic_regression(own / weight, weights=weight).x
    with np.errstate(divide="ignore"):
        return np.log(share) - np.log1p(-share)


def area_under_roc(rates: ErrorRates) -> float:
    """Probability that a target scores higher than a non-target, ties counted half."""
    accepted = 1.0 - rates.miss  # falls from 1 to 0, as false alarms do
    return float(np.sum(0.5 * (accepted[:-1] + accepted[1:]) * -np.diff(rates.false_alarm)))


def miss_at_false_alarm(rates: ErrorRates, false_alarm: float) -> float:
    """Smallest share of rejected targets at which at most `false_alarm` of the non-targets are accepted (FRR at FAR).

    Raises:
        InputError: if `false_alarm` is not in [0, 1].
    """
    if not 0 <= false_alarm <= 1:
        raise InputError(f"false_alarm={false_alarm} must lie in [0, 1]")
    first = np.argmax(rates.false_alarm <= false_alarm)  # falling: the first that is low enough misses least
    return float(rates.miss[first])
