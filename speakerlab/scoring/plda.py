"""Probabilistic linear discriminant analysis in its two-covariance form, trained by expectation maximisation.

Ioffe: "Probabilistic Linear Discriminant Analysis", ECCV 2006; Brümmer, de Villiers: "The Speaker Partitioning
Problem", Odyssey 2010 (two covariances); Garcia-Romero, Espy-Wilson: "Analysis of I-vector Length Normalization in
Speaker Recognition Systems", Interspeech 2011.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError

BLOCK = 4096  # trials scored at once


@dataclass(frozen=True)
class Plda:
    """An embedding is `mean + speaker + channel`, with the latter two Gaussian.

    Attributes:
        mean: `(dim,)`.
        between: `(dim, dim)` covariance of speakers.
        within: `(dim, dim)` covariance of channels.
    """

    mean: NDArray[np.float64]
    between: NDArray[np.float64]
    within: NDArray[np.float64]

    def scores(self, embeddings: ArrayLike, enrol: ArrayLike, test: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihood ratio of each trial, one embedding a side: the same speaker against two of them.

        Both covariances are made diagonal at once, so that a trial costs two products of vectors.

        Args:
            embeddings: `(utterances, dim)`.
            enrol, test: `(trials,)`, rows of `embeddings`.
        """
        ratios, basis = scipy.linalg.eigh(self.between, self.within)  # basis.T @ within @ basis = 1
        ratios = ratios.clip(min=0.0)
        x = (np.asarray(embeddings, np.float64) - self.mean) @ basis  # (utterances, dim)
        total = 1.0 + ratios
        joint = total**2 - ratios**2
        square = 0.5 * (1.0 / total - total / joint)
        # Each trial's sum of squares is of its two rows; what is left is one product of gathered rows.
        alone = x**2 @ square + 0.25 * np.sum(np.log(total**2 / joint))  # (utterances,)
        weighted = x * (ratios / joint)
        enrol, test = np.asarray(enrol), np.asarray(test)
        found = alone[enrol] + alone[test]
        for first in range(0, len(found), BLOCK):
            part = slice(first, first + BLOCK)
            found[part] += np.einsum("td,td->t", weighted[enrol[part]], x[test[part]])
        return found


def train_plda(
    embeddings: ArrayLike, speakers: ArrayLike, iterations: int = 20, floor: float = 1e-6
) -> tuple[Plda, list[float]]:
    """The model of greatest likelihood that `iterations` find, and the mean log-likelihood of an embedding before each.

    Args:
        embeddings: `(utterances, dim)`; of `length_normalised` ones the Gaussians are better models.
        speakers: `(utterances,)` names or numbers.
        iterations: of expectation maximisation.
        floor: smallest variance, as a share of the mean one: directions in which nothing varies stay invertible.

    Raises:
        InputError: if there are fewer than two speakers, or none has two utterances, or sizes do not fit.
    """
    x, statistics = np.asarray(embeddings, np.float64), _statistics(embeddings, speakers)
    counts, means, scatter = statistics
    mean = x.mean(axis=0)
    means = means - mean
    within = _floored(scatter / len(x), floor)
    between = _floored(means.T @ means / len(means), floor)
    likelihoods = []
    for _ in range(iterations):
        likelihoods.append(_log_likelihood(counts, means, scatter, between, within))
        between, within = _step(counts, means, scatter, between, within)
        between, within = _floored(between, floor), _floored(within, floor)
    return Plda(mean, between, within), likelihoods


def length_normalised(embeddings: ArrayLike, mean: ArrayLike) -> NDArray[np.float64]:
    """`(utterances, dim)` without the mean, each scaled to the length `sqrt(dim)`."""
    x = np.asarray(embeddings, np.float64) - np.asarray(mean, np.float64)
    return x * (np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True))


def _statistics(embeddings: ArrayLike, speakers: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Utterances of each speaker, their means, and the scatter of all about their speaker's mean."""
    x, speakers = np.asarray(embeddings, np.float64), np.asarray(speakers)
    if x.ndim != 2 or speakers.shape != x.shape[:1]:
        raise InputError(f"embeddings {x.shape} must be a table, with a speaker for each row, not {speakers.shape}")
    names, numbers, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.max() < 2:
        raise InputError(f"PLDA needs two speakers, one with two utterances; there are {len(x)} of {len(names)}")
    sums = np.zeros((len(names), x.shape[1]))
    np.add.at(sums, numbers, x)
    means = sums / counts[:, None]
    about = x - means[numbers]
    return counts, means, about.T @ about


def _step(counts, means, scatter, between, within) -> tuple[NDArray, NDArray]:
    """One iteration: the speakers' posteriors, and the covariances that they make most likely."""
    dim = len(within)
    precision, channel = np.linalg.inv(between), np.linalg.inv(within)
    new_between, new_within = np.zeros((dim, dim)), scatter.copy()
    for count in np.unique(counts):  # those with equally many utterances share a posterior covariance
        own = means[counts == count]
        posterior = np.linalg.inv(precision + count * channel)
        expected = count * own @ channel @ posterior  # (speakers, dim)
        left = own - expected
        new_between += len(own) * posterior + expected.T @ expected
        new_within += count * (len(own) * posterior + left.T @ left)
    return new_between / len(means), new_within / counts.sum()


def _log_likelihood(counts, means, scatter, between, within) -> float:
    """Mean over embeddings, without the constants of pi."""
    total = -0.5 * np.sum(np.linalg.inv(within) * scatter)
    total -= 0.5 * (counts.sum() - len(counts)) * np.linalg.slogdet(within)[1]
    for count in np.unique(counts):
        own = means[counts == count]
        covariance = within + count * between  # of the mean, times the count
        total -= 0.5 * len(own) * np.linalg.slogdet(covariance)[1]
        total -= 0.5 * count * np.sum(own @ np.linalg.inv(covariance) * own)
    return float(total / counts.sum())


def _floored(covariance: NDArray, floor: float) -> NDArray:
    """Symmetric, with no variance below a share of the mean one."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return (vectors * values.clip(min=floor * max(values.mean(), np.finfo(float).tiny))) @ vectors.T
