"""Closed-set identification by the embeddings of enrolled utterances alone, and authentication against them.

Embeddings are compared by cosine. A speaker is either the direction of the mean of the own unit-length embeddings
(centroid), or all of them (k nearest neighbours).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from speakerlab import InputError
from speakerlab.scoring.cosine import unit_rows
from speakerlab.scoring.identification import Guesses, guesses_between, guesses_of

BLOCK_BYTES = 1 << 28  # of similarities at a time
SCALES = (1.0, 200.0)  # of cosines, before a softmax
FITTED = 5000  # utterances that the scale is fitted on
USUAL_SCALE = 30.0  # where no speaker has two utterances to fit it on
MOST_TRIALS = 2_000_000


class Enrolled(NamedTuple):
    """Utterances of known speakers.

    units: `(utterances, dim)` embeddings of length 1, sorted by class.
    classes: `(utterances,)` ascending, each class from 0 at least once.
    starts: `(speakers,)` the first row of each.
    sums: `(speakers, dim)` of the units of each.
    """

    units: NDArray[np.floating]
    classes: NDArray[np.int64]
    starts: NDArray[np.int64]
    sums: NDArray[np.floating]

    @property
    def centroids(self) -> NDArray[np.floating]:
        """`(speakers, dim)` of length 1."""
        return unit_rows(self.sums)


class Authentication(NamedTuple):
    """Utterances that claim to be of a speaker.

    scores: `(trials,)` cosine to the claimed speaker's centroid.
    labels: `(trials,)` int8, 1 where the claim is true (genuine), 0 where it is not (impostor).
    utterance: `(trials,)` which one claims.
    speaker: `(trials,)` who it claims to be.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.int8]
    utterance: NDArray[np.int64]
    speaker: NDArray[np.int64]


def enrol(embeddings: ArrayLike, classes: ArrayLike) -> Enrolled:
    """Speakers as their utterances describe them.

    Args:
        embeddings: `(utterances, dim)`.
        classes: `(utterances,)` speakers from 0, each at least once.

    Raises:
        InputError: if an embedding is zero, NaN or infinite, or a class has no utterance.
    """
    classes = np.asarray(classes)
    counts = np.bincount(classes)
    if not counts.all():
        raise InputError(f"class {np.argmin(counts)} has no enrolled utterance")
    order = np.argsort(classes, kind="stable")
    units, starts = unit_rows(embeddings)[order], np.cumsum(counts) - counts
    return Enrolled(units, classes[order], starts, np.add.reduceat(units, starts, axis=0))


def by_centroid(enrolled: Enrolled, embeddings: ArrayLike, classes: NDArray[np.int64]) -> Guesses:
    """Whose centroid is nearest; posteriors are the softmax of scaled cosines, by the scale that makes the enrolled
    utterances, each left out of its own centroid, most likely.

    Args:
        enrolled: the speakers.
        embeddings: `(utterances, dim)` to identify.
        classes: `(utterances,)` their true speakers.
    """
    scale, centroids, units = posterior_scale(enrolled), enrolled.centroids, unit_rows(embeddings)
    parts = [
        guesses_of(scale * (units[part] @ centroids.T), classes[part]) for part in _blocks(len(units), len(centroids))
    ]
    return Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def by_neighbours(
    enrolled: Enrolled, embeddings: ArrayLike, classes: NDArray[np.int64], neighbours: int = 5
) -> Guesses:
    """Who has most of the nearest enrolled utterances; among speakers with as many, whose nearest is nearer. The
    posterior is the share of the votes.

    Args:
        enrolled: the speakers.
        embeddings: `(utterances, dim)` to identify.
        classes: `(utterances,)` their true speakers.
        neighbours: that vote; no more than there are enrolled utterances.

    Raises:
        InputError: if `neighbours` is out of range.
    """
    if not 1 <= neighbours <= len(enrolled.units):
        raise InputError(f"neighbours={neighbours} must be 1 to {len(enrolled.units)}, the enrolled utterances")
    units, speakers, parts = unit_rows(embeddings), len(enrolled.starts), []
    for part in _blocks(len(units), len(enrolled.units)):
        cosines = units[part] @ enrolled.units.T  # (block, enrolled utterances)
        nearer = np.maximum.reduceat(cosines, enrolled.starts, axis=1)  # (block, speakers), in [-1, 1]
        row, column = _nearest(cosines, nearer, neighbours)
        place = row * speakers + enrolled.classes[column]
        votes = np.bincount(place, minlength=len(cosines) * speakers).reshape(-1, speakers)
        # Less than a vote apart, however near.
        parts.append(guesses_between(votes + (nearer + 1.0) / 4.0, votes / neighbours, classes[part]))
    return Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def authenticate(
    enrolled: Enrolled, embeddings: ArrayLike, classes: NDArray[np.int64], most: int = MOST_TRIALS
) -> Authentication:
    """Every utterance against every enrolled speaker: the own one is a genuine claim, all others are an impostor's.

    Where these are more than `most` trials, each utterance meets its own speaker and as many others as fit, evenly
    spaced among the others in class order.

    Args:
        enrolled: the speakers.
        embeddings: `(utterances, dim)`.
        classes: `(utterances,)` their true speakers.
        most: trials.
    """
    units, centroids, speakers = unit_rows(embeddings), enrolled.centroids, len(enrolled.starts)
    others = min(speakers - 1, max(1, most // max(1, len(units)) - 1)) if speakers > 1 else 0
    # How far from the own speaker, around the circle of all: each distance at most once.
    steps = np.concatenate([[0], 1 + np.arange(others) * (speakers - 1) // max(1, others)])
    claimed = (classes[:, None] + steps) % speakers  # (utterances, 1 + others)
    scores = np.empty(claimed.shape, units.dtype)
    for part in _blocks(len(units), speakers):
        scores[part] = np.take_along_axis(units[part] @ centroids.T, claimed[part], axis=1)
    labels = np.zeros(claimed.shape, np.int8)
    labels[:, 0] = 1
    utterance = np.repeat(np.arange(len(units)), claimed.shape[1])
    return Authentication(scores.reshape(-1).clip(-1, 1), labels.reshape(-1), utterance, claimed.reshape(-1))


def posterior_scale(enrolled: Enrolled) -> float:
    """What cosines to centroids are multiplied by before a softmax: the likeliest value for the enrolled utterances,
    each left out of its own centroid; `USUAL_SCALE` where no speaker has two."""
    counts = np.diff(np.append(enrolled.starts, len(enrolled.units)))
    several = np.flatnonzero(counts[enrolled.classes] > 1)
    if not len(several):
        return USUAL_SCALE
    chosen = several[np.unique(np.linspace(0, len(several) - 1, min(FITTED, len(several))).astype(np.int64))]
    units, own = enrolled.units[chosen], enrolled.classes[chosen]
    rest = enrolled.sums[own] - units
    lengths = np.linalg.norm(rest, axis=1)
    without = np.einsum("ud,ud->u", units, rest) / np.where(lengths > 0, lengths, 1.0)

    def loss(scale: float) -> float:
        total = 0.0
        for part in _blocks(len(units), len(enrolled.starts)):
            cosines = (units[part] @ centroids.T).astype(np.float64)
            cosines[np.arange(len(cosines)), own[part]] = without[part]
            highest = cosines.max(axis=1)
            spread = np.log(np.exp(scale * (cosines - highest[:, None])).sum(axis=1))
            total += float((scale * (highest - without[part]) + spread).sum())
        return total

    centroids = enrolled.centroids
    return float(minimize_scalar(loss, bounds=SCALES, method="bounded", options={"xatol": 0.01}).x)


def _nearest(
    cosines: NDArray[np.floating], nearer: NDArray[np.floating], neighbours: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of each row's highest cosines, `(rows * neighbours,)`.

    Of as many speakers the nearest utterances are at least as near as the last one that is wanted: the few others that
    are, too, are found by one look at each cosine, where a selection would take several times as long.

    Args:
        cosines: `(rows, utterances)`.
        nearer: `(rows, speakers)`, the highest of each speaker.
        neighbours: of each row.
    """
    if neighbours < nearer.shape[1]:
        least = np.partition(nearer, -neighbours, axis=1)[:, -neighbours]  # (rows,)
    else:
        least = np.full(len(nearer), -np.inf, nearer.dtype)
    row, column = np.nonzero(cosines >= least[:, None])
    order = np.lexsort((-cosines[row, column], row))
    row, column = row[order], column[order]
    first = np.searchsorted(row, np.arange(len(cosines)))
    kept = np.arange(len(row)) - first[row] < neighbours
    return row[kept], column[kept]


def _blocks(utterances: int, columns: int) -> Iterator[slice]:
    """Parts of the utterances whose similarities, with what is made of them, fill some `BLOCK_BYTES`."""
    size = max(1, BLOCK_BYTES // (8 * max(1, columns)))
    return (slice(first, first + size) for first in range(0, utterances, size))
