"""What back ends are trained on: how much embeddings differ between speakers and within one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError


class SpeakerStatistics(NamedTuple):
    """Of embeddings of known speakers.

    Attributes:
        counts: `(speakers,)` utterances of each.
        means: `(speakers, dim)`.
        scatter: `(dim, dim)`, of all utterances about their speaker's mean.
    """

    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @property
    def within(self) -> NDArray[np.float64]:
        """`(dim, dim)` covariance of the utterances about their speaker's mean."""
        return self.scatter / self.counts.sum()

    @property
    def mean(self) -> NDArray[np.float64]:
        """`(dim,)` of all utterances."""
        return self.counts @ self.means / self.counts.sum()


def speaker_statistics(embeddings: ArrayLike, speakers: ArrayLike) -> SpeakerStatistics:
    """Statistics of embeddings `(utterances, dim)` and the name or number of each one's speaker `(utterances,)`.

    Raises:
        InputError: if there are fewer than two speakers, or none has two utterances, or sizes do not fit.
    """
    x, speakers = np.asarray(embeddings, np.float64), np.asarray(speakers)
    if x.ndim != 2 or speakers.shape != x.shape[:1]:
        raise InputError(f"embeddings {x.shape} must be a table, with a speaker for each row, not {speakers.shape}")
    names, numbers, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.max() < 2:
        raise InputError(
            f"training a back end needs two speakers, one with two utterances; there are {len(x)} of {len(names)}"
        )
    means = speaker_means(x, numbers)
    about = x - means[numbers]
    return SpeakerStatistics(counts, means, about.T @ about)


def speaker_means(embeddings: NDArray, speakers: NDArray[np.integer]) -> NDArray[np.float64]:
    """`(speakers, dim)` means of embeddings `(utterances, dim)` whose speakers are numbered from 0, none left out."""
    sums = np.zeros((speakers.max() + 1, embeddings.shape[1]))
    np.add.at(sums, speakers, embeddings)
    return sums / np.bincount(speakers)[:, None]


def floored(covariance: NDArray, floor: float) -> NDArray[np.float64]:
    """Symmetric, with no variance below a share of the mean one: where nothing varies it stays invertible."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return (vectors * values.clip(min=floor * max(values.mean(), np.finfo(float).tiny))) @ vectors.T
