"""Error rates of parts of a trial list, such as its short utterances: where a model fails."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speakerlab.scoring.bootstrap import bootstrap_eer_interval
from speakerlab.scoring.metrics import eer, error_rates

FEWEST_SPEAKERS = 5  # with target trials; an interval over fewer is a number without meaning


class ConditionResult(NamedTuple):
    """What a part of the trials gives; None is what it can't give.

    eer, low, high: with its 95 % interval over speakers.
    miss, false_alarm: at the threshold of the whole list.
    targets, nontargets: trials.
    """

    eer: float | None
    low: float | None
    high: float | None
    miss: float | None
    false_alarm: float | None
    targets: int
    nontargets: int


def by_condition(
    scores: NDArray,
    labels: NDArray,
    parts: Mapping[str, NDArray[np.bool_]],
    speakers: tuple[NDArray, NDArray],
    threshold: float,
    draws: int,
) -> dict[str, ConditionResult]:
    """The results of each part of a list.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker.
        parts: name -> `(trials,)`, which trials belong to it.
        speakers: `(trials,)` of the enrolment and of the test utterances.
        threshold: of the whole list, on the scores' scale.
        draws: of the bootstrap; 0 is no interval.
    """
    return {
        name: _result(scores[part], labels[part] == 1, [side[part] for side in speakers], threshold, draws)
        for name, part in parts.items()
    }


def _result(
    scores: NDArray, is_target: NDArray[np.bool_], speakers: list[NDArray], threshold: float, draws: int
) -> ConditionResult:
    targets = int(is_target.sum())
    nontargets = len(is_target) - targets
    rate = low = high = None
    if targets and nontargets:
        rate = eer(error_rates(scores, is_target))[0]
        if draws and len(np.unique(speakers[0][is_target])) >= FEWEST_SPEAKERS:
            low, high = bootstrap_eer_interval(scores, is_target.astype(np.int8), *speakers, draws=draws)
    accepted = scores >= threshold
    miss = float(1 - accepted[is_target].mean()) if targets else None
    false_alarm = float(accepted[~is_target].mean()) if nontargets else None
    return ConditionResult(rate, low, high, miss, false_alarm, targets, nontargets)


def quantile_parts(values: NDArray, unit: str, most: int = 4) -> dict[str, NDArray[np.bool_]]:
    """Parts of nearly equal size by a value, such as the shorter duration of each trial: "2.1 to 4.5 s".

    Args:
        values: `(trials,)`; NaN belongs to no part.
        unit: of the values.
        most: parts; fewer where many values are equal, none where all are.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    rounded = np.round(known, 1)
    edges = np.unique(np.round(np.quantile(rounded, np.linspace(0, 1, most + 1)), 1))
    if len(edges) < 3:
        return {}
    parts = {}
    place = np.round(values, 1)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        last = high == edges[-1]
        name = f"{low:.1f} to {high:.1f} {unit}" if last else f"{low:.1f} to under {high:.1f} {unit}"
        parts[name] = (place >= low) & ((place <= high) if last else (place < high))
    return parts
