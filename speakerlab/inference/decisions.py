"""What a recognizer answers, and how sure it is."""

import math
from dataclasses import dataclass

from speakerlab import InputError


@dataclass(frozen=True)
class Verification:
    """Whether two recordings are of one speaker.

    Attributes:
        score: their cosine, as `python evaluate.py` scores them.
        same: whether it reaches the threshold; None where there is none.
        threshold: that was applied: the caller's, or the model's own.
        llr: calibrated log-likelihood ratio of "same" to "different"; None without a calibration.
        probability: that they are of one speaker, at the prior asked for; None without a calibration.
        notes: what a listener should know, such as "a.wav: clipped ...".
    """

    score: float
    same: bool | None
    threshold: float | None
    llr: float | None
    probability: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Enrolled:
    """What was added to a gallery.

    Attributes:
        name: of the speaker.
        recordings: that were added now; those that were there already are not counted.
        seconds: of all that were given.
        faults: file -> why it could not be used.
        notes: file -> what a listener should know about it.
    """

    name: str
    recordings: int
    seconds: float
    faults: dict[str, str]
    notes: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker who it may be; see `Verification` for the numbers."""

    name: str
    score: float
    llr: float | None
    probability: float | None


@dataclass(frozen=True)
class Identification:
    """Who of the enrolled speakers it is.

    Attributes:
        candidates: the nearest first.
        accepted: the first of them if the score reaches the threshold; None is a stranger, or without a threshold
            nobody's decision.
        threshold: that was applied.
        notes: what a listener should know.
    """

    candidates: list[Candidate]
    accepted: str | None
    threshold: float | None
    notes: tuple[str, ...]


def prior_log_odds(p_target: float) -> float:
    """Raises InputError for what is no probability."""
    if not 0.0 < p_target < 1.0:
        raise InputError(f"p_target={p_target} must lie between 0 and 1, both excluded")
    return math.log(p_target) - math.log1p(-p_target)


def probability_of(log_odds: float) -> float:
    """
    >>> probability_of(0.0), probability_of(-1000.0), probability_of(1000.0)
    (0.5, 0.0, 1.0)
    """
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    return math.exp(log_odds) / (1.0 + math.exp(log_odds))
