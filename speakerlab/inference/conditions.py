"""Where a model fails: the error rates of a trial list's parts, by duration, gender, session and noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speakerlab.data.trials import Trials
from speakerlab.data.utterance_facts import find_facts
from speakerlab.scoring.conditions import ConditionResult, by_condition, quantile_parts

DRAWS = 200  # of each part's bootstrap at most: a list has a dozen parts


def results_by_condition(
    trials: Trials,
    scores: NDArray,
    speakers: NDArray,
    seconds: NDArray | None,
    files: Sequence[Path],
    roots: Sequence[Path],
    threshold: float,
    draws: int,
) -> dict[str, dict[str, ConditionResult]]:
    """Kind of condition -> condition -> its results; kinds of which nothing is known are left out.

    Args:
        trials: the list.
        scores: `(trials,)`.
        speakers: `(utterances,)` a number each.
        seconds: `(utterances,)`; None where they are unknown.
        files: of the utterances.
        roots: folders that may hold a manifest.
        threshold: at which false rejects and accepts are counted.
        draws: of the bootstrap, 0 for no intervals.
    """
    facts = find_facts(files, speakers, roots)
    pairs = (trials.enrol, trials.test)
    first_gender, second_gender = (facts.gender[side] for side in pairs)
    first_session, second_session = (facts.session[side] for side in pairs)
    target = trials.labels == 1
    known = (first_session != "") & (second_session != "")
    same = first_session == second_session
    seconds = np.full(len(files), np.nan) if seconds is None else seconds
    kinds = {
        "duration (shorter side)": quantile_parts(np.minimum(*(seconds[side] for side in pairs)), "s"),
        "gender": {
            "female": (first_gender == "f") & (second_gender == "f"),
            "male": (first_gender == "m") & (second_gender == "m"),
            "one of each": (first_gender != second_gender) & (first_gender != "") & (second_gender != ""),
        },
        # A session is its speaker's own: it tells targets apart, and every part has all the non-targets.
        "session (targets)": {
            "the same": ~target | (known & same),
            "different": ~target | (known & ~same),
        },
        "signal to noise (noisier side)": quantile_parts(np.minimum(*(facts.snr[side] for side in pairs)), "dB"),
    }
    sides = (speakers[trials.enrol], speakers[trials.test])
    results = {}
    for kind, parts in kinds.items():
        some = {
            name: part for name, part in parts.items() if (part & target).any() or (part.any() and kind == "gender")
        }
        if some and any((part & target).any() for part in some.values()):
            results[kind] = by_condition(scores, trials.labels, some, sides, threshold, min(draws, DRAWS))
    return results
