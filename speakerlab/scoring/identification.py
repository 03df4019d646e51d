"""Closed-set identification: how often the right one of the known speakers is named."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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
    """Accuracy, top-5 accuracy, macro and micro F1 as shares, the error rate, and the number of utterances.

    Args:
        guesses: see `Guesses`.
        speakers: `(utterances,)` the true classes.

    Raises:
        InputError: if there are none.
    """
    return ranked_metrics(guesses.predicted, guesses.rank, speakers)


def ranked_metrics(predicted: ArrayLike, rank: ArrayLike, speakers: ArrayLike) -> dict[str, float]:
    """What `identification_metrics` gives; predicted classes and ranks `(utterances,)` are those of `Guesses`."""
    rank, speakers = np.asarray(rank), np.asarray(speakers)
    if not len(speakers):
        raise InputError("there are no utterances to identify")
    accuracy = float((rank == 1).mean())
    return {
        "accuracy": accuracy,
        "top5_accuracy": float((rank <= 5).mean()),
        "macro_f1": macro_f1(predicted, speakers),
        "micro_f1": micro_f1(predicted, speakers),
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
    return float(np.nanmean(speaker_f1(predicted, speakers)))


def speaker_f1(predicted: ArrayLike, speakers: ArrayLike) -> NDArray[np.float64]:
    """Each speaker's harmonic mean of precision and recall: `(highest class + 1,)`, NaN for one who neither speaks nor
    is named; arguments as in `macro_f1`."""
    predicted, speakers = np.asarray(predicted), np.asarray(speakers)
    classes = int(max(predicted.max(), speakers.max())) + 1
    named, spoken = np.bincount(predicted, minlength=classes), np.bincount(speakers, minlength=classes)
    right = np.bincount(speakers[predicted == speakers], minlength=classes)
    with np.errstate(invalid="ignore"):
        return 2 * right / (named + spoken)


def micro_f1(predicted: ArrayLike, speakers: ArrayLike) -> float:
    """F1 of all decisions together: where each utterance gets one name, the share of right ones.

    >>> micro_f1([0, 0, 1, 2], [0, 1, 1, 1])
    0.5
    """
    return float((np.asarray(predicted) == np.asarray(speakers)).mean())


def speaker_accuracy(right: ArrayLike, speakers: ArrayLike, classes: int) -> NDArray[np.float64]:
    """Share of each speaker's utterances that are right: `(classes,)`, NaN for one who has none.

    Args:
        right: `(utterances,)`, whether it was identified.
        speakers: `(utterances,)` true classes.
        classes: how many speakers there are.

    >>> speaker_accuracy([True, False, True], [0, 0, 2], 3).tolist()
    [0.5, nan, 1.0]
    """
    spoken = np.bincount(speakers, minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.bincount(speakers, np.asarray(right, np.float64), minlength=classes) / spoken


def confusion_matrix(predicted: ArrayLike, speakers: ArrayLike, classes: int) -> "csr_array":
    """How often each speaker (row) was taken for each (column): `(classes, classes)`, sparse.

    It holds as many numbers as there are different pairs: thousands of speakers cost no more than their utterances.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], 3).toarray().tolist()
    [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    """
    from scipy.sparse import coo_array

    counted = coo_array((np.ones(len(speakers), np.int64), (speakers, predicted)), shape=(classes, classes))
    return counted.tocsr()  # which adds up what is there several times


def cumulative_match(rank: ArrayLike, most: int) -> NDArray[np.float64]:
    """Share of utterances whose speaker is among the first 1, 2, ... `most`: `(most,)`.

    >>> cumulative_match([1, 3, 1, 2], 3).tolist()
    [0.5, 0.75, 1.0]
    """
    rank = np.asarray(rank)
    return np.bincount(rank, minlength=most + 1)[1 : most + 1].cumsum() / len(rank)
