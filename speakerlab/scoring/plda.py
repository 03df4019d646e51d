"""Probabilistic linear discriminant analysis in its two-covariance form, trained by expectation maximisation.

Ioffe: "Probabilistic Linear Discriminant Analysis", ECCV 2006; Brümmer, de Villiers: "The Speaker Partitioning
Problem", Odyssey 2010 (two covariances); Garcia-Romero, Espy-Wilson: "Analysis of I-vector Length Normalization in
Speaker Recognition Systems", Interspeech 2011.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from speakerlab.scoring.cosine import unit_rows
from speakerlab.scoring.products import trial_products
from speakerlab.scoring.speaker_statistics import floored, speaker_statistics


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

        Args:
            embeddings: `(utterances, dim)`.
            enrol, test: `(trials,)`, rows of `embeddings`.
        """
        return trial_products(*self.sides(embeddings), np.asarray(enrol), np.asarray(test))

    def sides(self, embeddings: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Left and right rows `(utterances, dim + 2)`: the product of a left and a right one is their trial's ratio.

        Both covariances are made diagonal at once. A trial's squares are then sums of its two rows' own, and what is
        left is a product of the rows.
        """
        ratios, basis = scipy.linalg.eigh(self.between, self.within)  # basis.T @ within @ basis = 1
        ratios = ratios.clip(min=0.0)
        x = (np.asarray(embeddings, np.float64) - self.mean) @ basis  # (utterances, dim)
        total = 1.0 + ratios
        joint = total**2 - ratios**2
        square = 0.5 * (1.0 / total - total / joint)
        alone = (x**2 @ square + 0.25 * np.sum(np.log(total**2 / joint)))[:, None]  # (utterances, 1)
        one = np.ones_like(alone)
        return np.hstack([x * (ratios / joint), alone, one]), np.hstack([x, one, alone])


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
        InputError: see `speaker_statistics`.
    """
    statistics = speaker_statistics(embeddings, speakers)
    counts, means, scatter = statistics
    mean = statistics.mean
    means = means - mean
    within = floored(statistics.within, floor)
    between = floored(means.T @ means / len(means), floor)
    likelihoods = []
    for _ in range(iterations):
        likelihoods.append(_log_likelihood(counts, means, scatter, between, within))
        between, within = _step(counts, means, scatter, between, within)
        between, within = floored(between, floor), floored(within, floor)
    return Plda(mean, between, within), likelihoods


def length_normalised(embeddings: ArrayLike, mean: ArrayLike | None = None) -> NDArray[np.float64]:
    """`(utterances, dim)` without the mean, each scaled to the length `sqrt(dim)`; errors as in `unit_rows`."""
    rows = unit_rows(np.asarray(embeddings, np.float64), mean)
    return rows * np.sqrt(rows.shape[1])


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
