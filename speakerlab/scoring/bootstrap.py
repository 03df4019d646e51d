"""A confidence interval of the EER that draws speakers, not trials.

Trials that share a speaker are not independent, so that an interval over trials is far too narrow (Bolle, Ratha,
Pankanti: "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004; Poh, Martin, Bengio 2007).
Here each draw takes as many speakers as there are, with replacement; a non-target trial then counts as often as the
product of its two speakers' multiplicities, a target trial as often as its speaker's.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.metrics import checked_trials, tie_starts


def bootstrap_eer_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval `(low, high)` of the EER, as fractions; arguments and errors as in `bootstrap_eers`.

    Args:
        level: share of the draws' EERs between the two bounds.
    """
    if not 0 < level < 1:
        raise InputError(f"level={level} must lie between 0 and 1, both excluded")
    rates = bootstrap_eers(scores, labels, enrol_speakers, test_speakers, draws, seed)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_eers(
    scores: ArrayLike,
    labels: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The EER of each draw, as fractions; systems scored on one list with one seed have the same draws.

    Draws that leave no target or no non-target trial have no EER and are left out. About 10 ms a draw for 580,000
    trials.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker, 0 for different speakers.
        enrol_speakers: `(trials,)`, names or numbers.
        test_speakers: `(trials,)`.
        draws: times that the speakers are drawn anew.
        seed: of the draws.

    Raises:
        InputError: for the faults that `checked_trials` names, for labels that contradict the speakers, and where no
            draw has an EER.
    """
    if draws < 1:
        raise InputError(f"draws={draws} must be at least 1")
    scores, is_target = checked_trials(scores, labels)
    enrol, test, speakers = _numbered_speakers(is_target, enrol_speakers, test_speakers)
    rates = _drawn_eers(scores, is_target, enrol, test, speakers, draws, seed)
    if not rates:
        raise InputError(f"none of {draws} draws of {speakers} speakers has both target and non-target trials")
    return np.array(rates)


def _drawn_eers(
    scores: NDArray[np.float64],
    is_target: NDArray[np.bool_],
    enrol: NDArray[np.int64],
    test: NDArray[np.int64],
    speakers: int,
    draws: int,
    seed: int,
) -> list[float]:
    """EER of each draw that has one; all lists are `(trials,)`, `enrol` and `test` number the speakers from 0."""
    order = np.argsort(scores)
    is_target, enrol, test = is_target[order], enrol[order], test[order]
    below = np.append(tie_starts(scores[order]), len(scores))  # (points,): trials under each threshold
    targets_below = np.concatenate(([0], np.cumsum(is_target)))[below]
    nontargets_below = below - targets_below
    of_target, of_enrol, of_test = enrol[is_target], enrol[~is_target], test[~is_target]

    random = np.random.default_rng(seed)
    rates = []
    for _ in range(draws):  # one at a time: the memory stays at a few lists of trials
        times = np.bincount(random.integers(speakers, size=speakers), minlength=speakers)
        targets = _running_totals(times[of_target])
        nontargets = _running_totals(times[of_enrol] * times[of_test])
        if targets[-1] and nontargets[-1]:
            rates.append(_weighted_eer(targets, nontargets, targets_below, nontargets_below))
    return rates


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


def _running_totals(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(trials,)` -> `(trials + 1,)`: the weight of the first 0, 1, 2 ... trials."""
    totals = np.zeros(len(weights) + 1, dtype=np.int64)
    np.cumsum(weights, out=totals[1:])
    return totals


def _weighted_eer(
    targets: NDArray[np.int64],
    nontargets: NDArray[np.int64],
    targets_below: NDArray[np.int64],
    nontargets_below: NDArray[np.int64],
) -> float:
    """EER of weighted trials, by the interpolation of `speakerlab.scoring.metrics.eer`.

    Args:
        targets: `(targets + 1,)`, running totals of the target trials' weights, in the order of their scores.
        nontargets: `(nontargets + 1,)`, likewise.
        targets_below: `(points,)`, target trials under each threshold.
        nontargets_below: `(points,)`, likewise.
    """

    def rates(point: int) -> tuple[float, float]:
        miss = targets[targets_below[point]] / targets[-1]
        return miss, 1.0 - nontargets[nontargets_below[point]] / nontargets[-1]

    def has_crossed(point: int) -> bool:
        miss, false_alarm = rates(point)
        return miss >= false_alarm

    # Halving finds the crossing without the rates of all points: the two running totals are most of a draw's time.
    after = bisect_left(range(len(targets_below)), True, key=has_crossed)
    (miss, false_alarm), (next_miss, next_false_alarm) = rates(after - 1), rates(after)
    gap, next_gap = miss - false_alarm, next_miss - next_false_alarm
    return float(miss - gap / (next_gap - gap) * (next_miss - miss))
