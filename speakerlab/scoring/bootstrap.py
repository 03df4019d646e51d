"""Confidence intervals of error rates, and tests between two systems, that draw speakers and not trials.

Trials that share a speaker are not independent, so that an interval over trials is far too narrow (Bolle, Ratha,
Pankanti: "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004; Poh, Martin, Bengio 2007).
Here each draw takes as many speakers as there are, with replacement; a non-target trial then counts as often as the
product of its two speakers' multiplicities, a target trial as often as its speaker's.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.metrics import USUAL_POINTS, checked_trials, operating_point, point_name, tie_starts
from speakerlab.scoring.trial_metrics import trial_metrics


def bootstrap_metrics(
    scores: ArrayLike,
    labels: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    points: Iterable[str | float] = USUAL_POINTS,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """EER and minDCF of each draw: `eer` (a fraction) and `min_dcf_<point>`, `(draws,)` each.

    NaN where a draw has no target or no non-target trial. Systems scored on one list with one seed have the same draws.
    The memory is that of a few lists of trials, however many draws there are; 580,000 trials take 1 to 2 ms a draw.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker, 0 for different speakers.
        enrol_speakers: `(trials,)`, names or numbers.
        test_speakers: `(trials,)`.
        points: operating points; see `speakerlab.scoring.metrics.operating_point`.
        draws: times that the speakers are drawn anew.
        seed: of the draws.

    Raises:
        InputError: for the faults that `checked_trials` names, for labels that contradict the speakers, and where no
            draw has both kinds of trials.
    """
    if draws < 1:
        raise InputError(f"draws={draws} must be at least 1")
    costs = {f"min_dcf_{point_name(point)}": operating_point(point) for point in points}
    scores, is_target = checked_trials(scores, labels)
    enrol, test, speakers = _numbered_speakers(is_target, enrol_speakers, test_speakers)
    trials = _ordered(scores, is_target, enrol, test)
    random = np.random.default_rng(seed)
    found = {name: np.full(draws, np.nan) for name in ("eer", *costs)}
    for draw in range(draws):  # one at a time: its weights are all that is held
        weighted = trials.weighted(np.bincount(random.integers(speakers, size=speakers), minlength=speakers))
        if weighted.targets[-1] and weighted.nontargets[-1]:
            found["eer"][draw] = weighted.eer()
            for name, cost in costs.items():
                found[name][draw] = weighted.min_dcf(*cost)
    if np.isnan(found["eer"]).all():
        raise InputError(f"none of {draws} draws of {speakers} speakers has both target and non-target trials")
    return found


def bootstrap_eer_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval `(low, high)` of the EER, as fractions; arguments and errors as in `bootstrap_metrics`.

    Args:
        level: share of the draws' EERs between the two bounds.
    """
    drawn = bootstrap_metrics(scores, labels, enrol_speakers, test_speakers, (), draws, seed)
    return interval(drawn["eer"], level)


def interval(drawn: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Bounds `(low, high)` between which lies the share `level` of what was drawn, `(draws,)`; NaN are left out.

    Raises:
        InputError: if `level` is out of range.
    """
    if not 0 < level < 1:
        raise InputError(f"level={level} must lie between 0 and 1, both excluded")
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """How much a metric of a second system is above that of a first one.

    Attributes:
        value: second minus first.
        low, high: of its interval.
        p_value: how probable a difference as far from 0 would be if there were none, two-sided.
    """

    value: float
    low: float
    high: float
    p_value: float


def paired_test(
    first_scores: ArrayLike,
    second_scores: ArrayLike,
    labels: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    points: Iterable[str | float] = USUAL_POINTS,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Whether two systems differ on one list: EER and minDCF of the second minus those of the first.

    Each draw's speakers are the same for both, so that what makes a list easy or hard for both cancels. This finds
    differences that two overlapping intervals hide.

    Args:
        first_scores, second_scores: `(trials,)`; they may have different scales.
        labels, enrol_speakers, test_speakers, points, draws, seed: see `bootstrap_metrics`.
        level: of the intervals.

    Returns:
        `eer` and `min_dcf_<point>`.

    Raises:
        InputError: as `bootstrap_metrics` does.

    >>> speakers = np.arange(40) % 8
    >>> labels = np.repeat([1, 0], 20)
    >>> tests = np.where(labels == 1, speakers, (speakers + 3) % 8)
    >>> good = labels + 0.01 * speakers
    >>> paired_test(good, -good, labels, speakers, tests, draws=100)["eer"]
    Difference(value=1.0, low=1.0, high=1.0, p_value=0.02)
    """
    points = tuple(points)
    systems = []
    for scores in (first_scores, second_scores):
        drawn = bootstrap_metrics(scores, labels, enrol_speakers, test_speakers, points, draws, seed)
        systems.append((trial_metrics(scores, labels, points), drawn))
    (first, first_drawn), (second, second_drawn) = systems
    return {
        name: difference(first[name], second[name], first_drawn[name], second_drawn[name], level)
        for name in first_drawn
    }


def difference(
    first: float,
    second: float,
    first_drawn: NDArray[np.float64],
    second_drawn: NDArray[np.float64],
    level: float = 0.95,
) -> Difference:
    """The paired test of two systems whose metrics have been drawn.

    Args:
        first, second: the metrics themselves.
        first_drawn, second_drawn: `(draws,)`, of the same draws; NaN are left out.
        level: of the interval.
    """
    drawn = (second_drawn - first_drawn).round(12)  # equal rates may differ by a rounding, which is no evidence
    drawn = drawn[~np.isnan(drawn)]
    # The value itself counts as one more draw: no finite number of draws proves that there are no others.
    tail = 1 + min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return Difference(second - first, *interval(drawn, level), min(1.0, float(2 * tail / (1 + len(drawn)))))


def holm(p_values: Iterable[float]) -> list[float]:
    """p-values corrected for their number, in their order.

    Holm: "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p_values = np.array(list(p_values), dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected.tolist()


def _numbered_speakers(
    is_target: NDArray[np.bool_], enrol_speakers: ArrayLike, test_speakers: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Both speakers of each trial as numbers `(trials,)`, and how many speakers there are."""
    enrol, test = np.asarray(enrol_speakers), np.asarray(test_speakers)
    if enrol.shape != is_target.shape or test.shape != is_target.shape:
        raise InputError(
            f"each of {len(is_target)} trials needs an enrolment and a test speaker; "
            f"the speaker lists have shapes {enrol.shape} and {test.shape}"
        )
    names, numbers = np.unique(np.concatenate((enrol, test)), return_inverse=True)
    enrol, test = np.split(numbers, 2)
    wrong = int(np.count_nonzero((enrol == test) != is_target))
    if wrong:
        raise InputError(f"the labels of {wrong} trials contradict their speakers (1 means the same speaker)")
    return enrol, test, len(names)


def _ordered(
    scores: NDArray[np.float64], is_target: NDArray[np.bool_], enrol: NDArray[np.int64], test: NDArray[np.int64]
) -> "_Trials":
    order = np.argsort(scores)
    is_target, enrol, test = is_target[order], enrol[order], test[order]
    below = np.append(tie_starts(scores[order]), len(scores))  # (points,): trials under each threshold
    targets_below = np.concatenate(([0], np.cumsum(is_target)))[below]
    nontargets_below = below - targets_below
    # Of the thresholds with the same false alarms the lowest misses least, however trials are weighted.
    corners = np.flatnonzero(np.diff(nontargets_below, prepend=-1))
    return _Trials(enrol[is_target], enrol[~is_target], test[~is_target], targets_below, nontargets_below, corners)


@dataclass(frozen=True)
class _Trials:
    """Trials in the order of their scores, with the speakers as numbers.

    Attributes:
        of_target: `(targets,)`.
        of_enrol, of_test: `(nontargets,)`.
        targets_below, nontargets_below: `(points,)`, trials of each kind under each threshold.
        corners: the points among which some minimum of costs lies.
    """

    of_target: NDArray[np.int64]
    of_enrol: NDArray[np.int64]
    of_test: NDArray[np.int64]
    targets_below: NDArray[np.int64]
    nontargets_below: NDArray[np.int64]
    corners: NDArray[np.int64]

    def weighted(self, times: NDArray[np.int64]) -> "_Weighted":
        """With each trial as often as its speakers were drawn, `(speakers,)`."""
        nontargets = times.take(self.of_enrol)
        nontargets *= times.take(self.of_test)
        return _Weighted(self, _running_totals(times.take(self.of_target)), _running_totals(nontargets))


@dataclass(frozen=True)
class _Weighted:
    """One draw.

    Attributes:
        trials: see `_Trials`.
        targets, nontargets: `(their number + 1,)`, weight of the first 0, 1, 2 ... in the order of their scores.
    """

    trials: _Trials
    targets: NDArray[np.int64]
    nontargets: NDArray[np.int64]

    def miss(self, point):
        """Share of the targets' weight that is rejected at one or several points."""
        return self.targets[self.trials.targets_below[point]] / self.targets[-1]

    def false_alarm(self, point):
        """Share of the non-targets' weight that is accepted there."""
        return 1.0 - self.nontargets[self.trials.nontargets_below[point]] / self.nontargets[-1]

    def eer(self) -> float:
        """By the interpolation of `speakerlab.scoring.metrics.eer`."""
        # Halving finds the crossing without the rates of all points: the two running totals are most of a draw's time.
        points = range(len(self.trials.targets_below))
        after = bisect_left(points, True, key=lambda point: self.miss(point) >= self.false_alarm(point))
        miss, next_miss = self.miss(after - 1), self.miss(after)
        gap, next_gap = miss - self.false_alarm(after - 1), next_miss - self.false_alarm(after)
        return float(miss - gap / (next_gap - gap) * (next_miss - miss))

    def min_dcf(self, p_target: float, c_miss: float, c_fa: float) -> float:
        """As `speakerlab.scoring.metrics.min_dcf`."""
        miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1 - p_target)
        most = min(miss_weight, false_alarm_weight)  # always the cheaper answer: no minimum costs more
        corners = self.trials.corners
        first = bisect_left(corners, True, key=lambda point: false_alarm_weight * self.false_alarm(point) <= most)
        end = bisect_left(corners, True, key=lambda point: miss_weight * self.miss(point) > most)
        looked_at = corners[first:end]
        costs = miss_weight * self.miss(looked_at) + false_alarm_weight * self.false_alarm(looked_at)
        return float(costs.min(initial=most) / most)


def _running_totals(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(trials,)` -> `(trials + 1,)`: the weight of the first 0, 1, 2 ... trials."""
    totals = np.zeros(len(weights) + 1, dtype=np.int64)
    np.cumsum(weights, out=totals[1:])
    return totals
