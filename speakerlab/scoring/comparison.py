"""Several systems on one list: what of them differs for certain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from speakerlab.scoring.bootstrap import Difference, difference, holm
from speakerlab.scoring.metrics import ErrorRates

LEAST_DRAWS = 1000
DRAWS_A_PAIR = 200  # with fewer, no p-value corrected for so many pairs could be small
SIGNIFICANT = 0.05
Drawn = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Pair:
    """How one metric of two systems differs.

    Attributes:
        first, second: labels.
        metric: its name.
        difference: second minus first.
        p_value: corrected for the number of pairs of systems.
    """

    first: str
    second: str
    metric: str
    difference: Difference
    p_value: float

    @property
    def is_significant(self) -> bool:
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class Compared:
    """One list.

    Attributes:
        name, kind: of the list, and what it is of: trials or utterances.
        counts: what the list has, in words.
        metrics: label -> metrics; `x_low` and `x_high` are the ends of the 95 % interval of `x`.
        pairs: of every two systems and every metric that is drawn; none where the list has too few speakers.
        draws: of the bootstrap; 0 where there was none.
        curves: label -> error rates over trials; none over utterances.
    """

    name: str
    kind: str
    counts: str
    metrics: dict[str, dict[str, float]]
    pairs: list[Pair]
    draws: int
    curves: dict[str, ErrorRates] = field(default_factory=dict)


def draws_for(systems: int, wanted: int | None) -> int:
    """Draws of a comparison: what is wanted, or enough for so many pairs of systems.

    >>> draws_for(2, None), draws_for(6, None), draws_for(6, 500)
    (1000, 3000, 500)
    """
    return max(LEAST_DRAWS, DRAWS_A_PAIR * systems * (systems - 1) // 2) if wanted is None else wanted


def pairs_of(metrics: Mapping[str, Mapping[str, float]], drawn: Mapping[str, Drawn]) -> list[Pair]:
    """Every two systems and every metric that is drawn.

    Args:
        metrics: label of a system -> metrics.
        drawn: label of a system -> name of a metric -> its draws, those of the same speakers for all systems.
    """
    pairs = []
    every = list(combinations(drawn, 2))
    for name in next(iter(drawn.values())):
        found = [difference(*(side[label][name] for side in (metrics, drawn) for label in pair)) for pair in every]
        corrected = holm(one.p_value for one in found)
        pairs += [Pair(*pair, name, *values) for pair, *values in zip(every, found, corrected, strict=True)]
    return pairs
