"""Error rates of verification scores: the DET staircase, EER and minDCF, from one sort, in float64.

A trial is accepted where `score >= threshold`. Equal scores are one step of the staircase, since no threshold can tell
them apart: constant scores give an EER of 50 %, in whatever order the trials come.

>>> metrics = verification_metrics([0.9, 0.7, 0.4, 0.2, 0.1], [1, 1, 0, 1, 0])
>>> round(metrics["eer"], 4), round(metrics["threshold"], 4)
(0.3333, 0.3833)
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError

# Prior of a target, cost of a miss, cost of a false alarm, by the names that the field uses.
OPERATING_POINTS = {
    "voxsrc": (0.05, 1.0, 1.0),  # VoxCeleb Speaker Recognition Challenge, 2019 to 2023
    "sre08": (0.01, 10.0, 1.0),
    "sre10": (0.001, 1.0, 1.0),
}
USUAL_POINTS = ("0.01", "0.05")  # of VoxCeleb papers
MONITORED = ("eer", "error_rate")  # of verification and of identification


def monitored(names: Iterable[str]) -> str:
    """Which of some metrics a model is judged by, the lower the better: the EER, or identification's error rate.

    >>> monitored(["epoch", "accuracy", "error_rate"])
    'error_rate'
    """
    return next(name for name in MONITORED if name in names)


def operating_point(name: str | float) -> tuple[float, float, float]:
    """Prior of a target, cost of a miss and cost of a false alarm, of a name or of a prior with equal costs.

    Raises:
        InputError: for a name that is none of `OPERATING_POINTS`, and a prior outside (0, 1).

    >>> operating_point("sre08"), operating_point(0.05)
    ((0.01, 10.0, 1.0), (0.05, 1.0, 1.0))
    """
    if name in OPERATING_POINTS:
        return OPERATING_POINTS[name]
    try:
        prior = float(name)
    except ValueError:
        prior = np.nan
    if not 0 < prior < 1:
        raise InputError(
            f"operating point {name} is neither a prior in (0, 1) nor one of {', '.join(OPERATING_POINTS)}"
        )
    return prior, 1.0, 1.0


def point_name(point: str | float) -> str:
    """An operating point as metrics are named after it.

    >>> point_name(0.05), point_name("0.010"), point_name("voxsrc")
    ('0.05', '0.01', 'voxsrc')
    """
    return point if point in OPERATING_POINTS else f"{operating_point(point)[0]:g}"


@dataclass(frozen=True)
class ErrorRates:
    """The DET staircase: one point for each distinct decision that a threshold can make.

    Attributes:
        thresholds: `(points,)`, rising, finite. The first accepts every trial, the last rejects every trial. The others
            lie midway between two neighbouring scores, so that a score recomputed on another device with another
            rounding still falls on its side.
        miss: `(points,)`, rising from 0 to 1: the share of targets that are rejected.
        false_alarm: `(points,)`, falling from 1 to 0: the share of non-targets that are accepted.
    """

    thresholds: NDArray[np.float64]
    miss: NDArray[np.float64]
    false_alarm: NDArray[np.float64]


def checked_trials(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores `(trials,)` as float64 and labels `(trials,)` as booleans (true: the same speaker).

    Raises:
        InputError: for lists that are empty, of unequal lengths or of one class, for scores that are not finite, and
            for labels other than 0 and 1.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 1 or labels.ndim != 1 or len(scores) != len(labels):
        raise InputError(
            f"scores and labels must be two lists of one length; their shapes are {scores.shape} and {labels.shape}"
        )
    if len(scores) == 0:
        raise InputError("there are no trials: the lists of scores and labels are empty")
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        raise InputError(f"{bad} of {len(scores)} scores are NaN or infinite")
    is_target = labels == 1
    if not np.all(is_target | (labels == 0)):
        raise InputError("labels must be 0 (different speakers) or 1 (the same speaker)")
    targets = int(np.count_nonzero(is_target))
    if targets in (0, len(scores)):
        found, missing = ("target", "non-target") if targets else ("non-target", "target")
        raise InputError(f"all {len(scores)} trials are {found} trials; error rates need {missing} trials too")
    return scores, is_target


def tie_starts(ordered: NDArray) -> NDArray[np.int64]:
    """Where each run of equal values starts in an ordered, non-empty list."""
    return np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))


def error_rates(scores: ArrayLike, labels: ArrayLike) -> ErrorRates:
    """The DET staircase of scores `(trials,)` and labels `(trials,)` (1: same speaker, 0: different speakers).

    O(trials log trials) time, O(trials) memory.

    Raises:
        InputError: see `checked_trials`.
    """
    scores, is_target = checked_trials(scores, labels)
    ordered, is_target = in_rising_order(scores, is_target)
    starts = tie_starts(ordered)
    targets_below = np.zeros(len(ordered) + 1, dtype=np.int64)
    np.cumsum(is_target, out=targets_below[1:])
    below = np.append(starts, len(ordered))  # (points,): trials under each threshold
    rejected_targets = targets_below[below]
    targets = targets_below[-1]
    miss = rejected_targets / targets
    false_alarm = (below - rejected_targets) / (len(ordered) - targets)
    np.subtract(1.0, false_alarm, out=false_alarm)
    return ErrorRates(_thresholds(ordered[starts]), miss, false_alarm)


def in_rising_order(
    scores: NDArray[np.float64], is_target: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores `(trials,)` from the lowest to the highest, and which of them are targets'."""
    # Values are sorted much faster than positions, by vector instructions. So each class is sorted by itself, and what
    # is left is a merge of two sorted runs, which a stable sort does in one pass.
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    values = narrow if np.array_equal(narrow, scores) else scores  # cosines are float32: half the time again
    classes = [np.compress(chosen, values) for chosen in (is_target, ~is_target)]
    for own in classes:
        own.sort()
    runs = np.concatenate(classes)
    order = np.argsort(runs, kind="stable")
    return runs[order].astype(np.float64, copy=False), order < len(classes[0])


def _thresholds(distinct: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(points - 1,)` distinct rising scores -> `(points,)` thresholds between them and at both ends."""
    lower, upper = distinct[:-1], distinct[1:]
    middle = 0.5 * lower + 0.5 * upper  # halved first: the sum of two huge scores would overflow
    np.copyto(middle, upper, where=middle <= lower)  # neighbouring floats have no middle
    return np.concatenate((distinct[:1], middle, [np.nextafter(distinct[-1], np.inf)]))


def eer(rates: ErrorRates) -> tuple[float, float]:
    """Equal error rate (a fraction) and its threshold, by linear interpolation where the two rates cross."""
    # Their difference rises strictly from -1 to 1; a bisection needs not all of it.
    after = bisect_left(range(len(rates.miss)), 0.0, key=lambda point: rates.miss[point] - rates.false_alarm[point])
    before = after - 1
    gaps = rates.miss[[before, after]] - rates.false_alarm[[before, after]]
    weight = -gaps[0] / (gaps[1] - gaps[0])

    def between(values: NDArray) -> float:
        return float(values[before] + weight * (values[after] - values[before]))

    return between(rates.miss), between(rates.thresholds)


def min_dcf(rates: ErrorRates, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> tuple[float, float]:
    """Smallest normalised detection cost over all thresholds, and the threshold that gives it.

    `min(c_miss p miss + c_fa (1 - p) false_alarm) / min(c_miss p, c_fa (1 - p))`: 1 is the cost of a system that
    always gives the cheaper one of the two answers (NIST SRE evaluation plans).

    Raises:
        InputError: if `p_target` is outside (0, 1) or a cost is not positive.
    """
    index, cost = _cheapest(rates, p_target, c_miss, c_fa)
    return cost, float(rates.thresholds[index])


def min_dcf_point(rates: ErrorRates, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> tuple[float, float]:
    """`(miss, false_alarm)` where `min_dcf` finds its minimum, to mark on a DET plot."""
    index, _ = _cheapest(rates, p_target, c_miss, c_fa)
    return float(rates.miss[index]), float(rates.false_alarm[index])


def _cheapest(rates: ErrorRates, p_target: float, c_miss: float, c_fa: float) -> tuple[int, float]:
    if not 0 < p_target < 1:
        raise InputError(f"p_target={p_target} must lie between 0 and 1, both excluded")
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise InputError(f"c_miss={c_miss} and c_fa={c_fa} must be positive")
    miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1 - p_target)
    costs = miss_weight * rates.miss + false_alarm_weight * rates.false_alarm
    index = int(np.argmin(costs))
    return index, float(costs[index] / min(miss_weight, false_alarm_weight))


def verification_metrics(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """What the project reports of scores `(trials,)` and labels `(trials,)`.

    Returns:
        `eer` (a fraction), `threshold` (where the EER lies, on the scores' scale), `min_dcf_0.01` and `min_dcf_0.05`
        (normalised), `targets` and `nontargets` (numbers of trials).

    Raises:
        InputError: see `checked_trials`.
    """
    rates = error_rates(scores, labels)
    rate, threshold = eer(rates)
    targets = int(np.count_nonzero(np.asarray(labels) == 1))
    return {
        "eer": rate,
        "threshold": threshold,
        "min_dcf_0.01": min_dcf(rates, 0.01)[0],
        "min_dcf_0.05": min_dcf(rates, 0.05)[0],
        "targets": targets,
        "nontargets": len(labels) - targets,
    }
