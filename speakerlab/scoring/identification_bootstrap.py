"""What `speakerlab.scoring.bootstrap` does for trials, for identification: speakers are drawn, with all they said."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.identification import speaker_f1


def bootstrap_identification(
    right: ArrayLike, predicted: ArrayLike, speakers: ArrayLike, draws: int = 1000, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """`accuracy` and `macro_f1` of each draw, `(draws,)` each; one seed gives all systems the same draws.

    A drawn speaker brings the own F1 over all utterances: those who were not drawn are there to be named all the same,
    or every draw's macro F1 would be far below that of the list. `interval` and `difference` of
    `speakerlab.scoring.bootstrap` make intervals and paired tests of the draws.

    Args:
        right: `(utterances,)`, whether it was identified.
        predicted: `(utterances,)` named classes.
        speakers: `(utterances,)` true classes.
        draws: times that the speakers are drawn anew, with all their utterances.
        seed: of the draws.

    Raises:
        InputError: if there are no utterances, the lists' lengths differ, or there are no draws.
    """
    right, predicted, speakers = np.asarray(right, np.float64), np.asarray(predicted), np.asarray(speakers)
    if draws < 1:
        raise InputError(f"draws={draws} must be at least 1")
    if not len(speakers) or not right.shape == predicted.shape == speakers.shape:
        raise InputError(
            "right, predicted and speakers must be lists of one length, and not empty; "
            f"their shapes are {right.shape}, {predicted.shape} and {speakers.shape}"
        )
    names, numbers, spoken = np.unique(speakers, return_inverse=True, return_counts=True)
    hits = np.bincount(numbers, right)
    every = speaker_f1(predicted, speakers)
    # Who is named and never speaks has an F1 of 0, and can't be drawn.
    f1 = every[names] * len(names) / np.count_nonzero(~np.isnan(every))
    random = np.random.default_rng(seed)
    found = {name: np.empty(draws) for name in ("accuracy", "macro_f1")}
    for draw in range(draws):
        drawn = random.integers(len(names), size=len(names))
        found["accuracy"][draw] = hits[drawn].sum() / spoken[drawn].sum()
        found["macro_f1"][draw] = f1[drawn].mean()
    return found
