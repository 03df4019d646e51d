"""How well scores work as log-likelihood ratios, and rates at operating points: pure functions in float64.

Brümmer, du Preez: "Application-independent evaluation of speaker detection", Computer Speech and Language, 2006 (Cllr,
its minimum and actual costs); Fawcett: "An introduction to ROC analysis", Pattern Recognition Letters, 2006.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.metrics import ErrorRates, checked_trials, tie_starts

# Prior of a target, cost of a miss, cost of a false alarm, by the names that the field uses.
OPERATING_POINTS = {
    "0.01": (0.01, 1.0, 1.0),  # VoxCeleb papers; NIST SRE 2016
    "0.05": (0.05, 1.0, 1.0),  # VoxSRC
    "sre08": (0.01, 10.0, 1.0),
    "sre10": (0.001, 1.0, 1.0),
}


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
    return _cllr(llrs[is_target], llrs[~is_target])


def min_cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """The `cllr` of the best rising function of scores `(trials,)`: what calibration can't mend.

    Raises:
        InputError: see `checked_trials`.
    """
    scores, is_target = checked_trials(scores, labels)
    llrs = isotonic_llrs(scores, is_target)
    return _cllr(llrs[is_target], llrs[~is_target])


def isotonic_llrs(scores: NDArray[np.float64], is_target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`(trials,)` log-likelihood ratios that rise with the scores and fit the labels best (pool adjacent violators);
    infinite where the scores separate the classes. Equal scores get equal ratios.
    """
    order = np.argsort(scores)
    starts = tie_starts(scores[order])
    targets = np.add.reduceat(is_target[order].astype(np.float64), starts)  # in each run of equal scores
    sizes = np.diff(np.append(starts, len(scores))).astype(np.float64)
    share = np.repeat(pool_adjacent_violators(targets / sizes, sizes), sizes.astype(np.int64))
    prior = np.count_nonzero(is_target) / len(scores)
    with np.errstate(divide="ignore"):
        llrs = np.log(share) - np.log1p(-share) - (np.log(prior) - np.log1p(-prior))
    unsorted = np.empty_like(llrs)
    unsorted[order] = llrs
    return unsorted


def pool_adjacent_violators(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rising sequence nearest to `values` in weighted squares. O(values)."""
    from scipy.optimize import isotonic_regression

    return isotonic_regression(values, weights=weights).x


def _cllr(targets: NDArray[np.float64], nontargets: NDArray[np.float64]) -> float:
    bits = np.logaddexp(0.0, -targets).mean() + np.logaddexp(0.0, nontargets).mean()
    return float(0.5 * bits / np.log(2.0))


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
