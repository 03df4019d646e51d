"""Closed-set identification: how often the right one of the known speakers is named."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError

FIRST = 5  # classes that are kept of each utterance


class Guesses(NamedTuple):
    """What a classifier says of some utterances.

    predicted: `(utterances,)` the class with the highest logit.
    rank: `(utterances,)` the true class's place among all, 1 for the highest logit; others with an equal one go first.
    probability: `(utterances,)` softmax of the predicted class.
    first: `(utterances, FIRST or all classes)` the classes with the highest logits, the highest first.
    posteriors: of these, the softmax of each.
    """

    predicted: NDArray[np.int64]
    rank: NDArray[np.int64]
    probability: NDArray[np.float64]
    first: NDArray[np.int64]
    posteriors: NDArray[np.float64]


def guesses_of(logits: ArrayLike, speakers: ArrayLike) -> Guesses:
    """The guesses that logits stand for.

    Args:
        logits: `(utterances, classes)`.
        speakers: `(utterances,)` the true classes.

    Raises:
        InputError: if a logit is NaN or infinite, or a class is none of the columns.

    >>> guesses_of([[0.0, 2.0, 1.0], [3.0, 3.0, 0.0]], [2, 1]).rank.tolist()
    [2, 2]
    """
    logits, speakers = np.asarray(logits, np.float64), np.asarray(speakers)
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(axis=1).sum())
        raise InputError(f"the logits of {bad} of {len(logits)} utterances are NaN or infinite; the model has diverged")
    if len(speakers) and (speakers.min() < 0 or speakers.max() >= logits.shape[1]):
        raise InputError(f"speakers must be 0 to {logits.shape[1] - 1}, but are {speakers.min()} to {speakers.max()}")
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return guesses_between(logits, shifted / shifted.sum(axis=1, keepdims=True), speakers)


def guesses_between(scores: NDArray, posteriors: NDArray, speakers: NDArray) -> Guesses:
    """The guesses that scores stand for, of which the posteriors are known.

    Args:
        scores: `(utterances, classes)`, higher for a likelier class, finite.
        posteriors: `(utterances, classes)`.
        speakers: `(utterances,)` the true classes.
    """
    true = np.take_along_axis(scores, speakers[:, None], axis=1)
    # Constant scores would otherwise name class 0 and be right about it.
    rank = (scores >= true).sum(axis=1)
    first = first_classes(scores, FIRST)
    of_first = np.take_along_axis(posteriors, first, axis=1)
    return Guesses(first[:, 0], rank, of_first[:, 0], first, of_first)


def first_classes(scores: NDArray, most: int) -> NDArray[np.int64]:
    """The classes with the highest scores, the highest first and the lower number first among equals:
    `(utterances, most or all classes)`.

    >>> first_classes(np.array([[0.0, 2.0, 1.0, 2.0]]), 3).tolist()
    [[1, 3, 2]]
    """
    left = np.array(scores, np.float64)
    first = np.empty((len(left), min(most, left.shape[1])), np.int64)
    for place in range(first.shape[1]):  # a sort of thousands of classes would take most of the time
        first[:, place] = left.argmax(axis=1)
        np.put_along_axis(left, first[:, place, None], -np.inf, axis=1)
    return first


def identification_metrics(guesses: Guesses, speakers: ArrayLike) -> dict[str, float]:
    """Accuracy, top-5 accuracy and macro F1 as shares, the error rate, and the number of utterances.

    Args:
        guesses: see `Guesses`.
        speakers: `(utterances,)` the true classes.

    Raises:
        InputError: if there are none.
    """
    speakers = np.asarray(speakers)
    if not len(speakers):
        raise InputError("there are no utterances to identify")
    accuracy = float((guesses.rank == 1).mean())
    return {
        "accuracy": accuracy,
        "top5_accuracy": float((guesses.rank <= 5).mean()),
        "macro_f1": macro_f1(guesses.predicted, speakers),
        "error_rate": 1 - accuracy,
        "utterances": len(speakers),
    }


def macro_f1(predicted: ArrayLike, speakers: ArrayLike) -> float:
    """Mean over speakers of the harmonic mean of precision and recall; of all speakers who speak or are named.

    Args:
        predicted, speakers: `(utterances,)` classes.

    >>> macro_f1([0, 0, 1, 2], [0, 1, 1, 1])
    0.38888888888888884
    """
    predicted, speakers = np.asarray(predicted), np.asarray(speakers)
    classes = int(max(predicted.max(), speakers.max())) + 1
    named, spoken = np.bincount(predicted, minlength=classes), np.bincount(speakers, minlength=classes)
    right = np.bincount(speakers[predicted == speakers], minlength=classes)
    counted = named + spoken > 0
    return float((2 * right[counted] / (named + spoken)[counted]).mean())


def cumulative_match(rank: ArrayLike, most: int) -> NDArray[np.float64]:
    """Share of utterances whose speaker is among the first 1, 2, ... `most`: `(most,)`.

    >>> cumulative_match([1, 3, 1, 2], 3).tolist()
    [0.5, 0.75, 1.0]
    """
    rank = np.asarray(rank)
    return np.bincount(rank, minlength=most + 1)[1 : most + 1].cumsum() / len(rank)
