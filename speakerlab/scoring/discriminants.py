"""Projections in which speakers are told apart more easily: linear discriminants, and within-class covariance
normalisation.

Fisher: "The Use of Multiple Measurements in Taxonomic Problems", 1936; Hatch, Kajarekar, Stolcke: "Within-Class
Covariance Normalization for SVM-based Speaker Recognition", Interspeech 2006; Dehak, Kenny, Dehak, Dumouchel, Ouellet:
"Front-End Factor Analysis for Speaker Verification", IEEE TASLP 2011 (both before a cosine).
"""

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.speaker_statistics import floored, speaker_statistics

FLOOR = 1e-6  # smallest variance within speakers, as a share of the mean one


def train_lda(embeddings: ArrayLike, speakers: ArrayLike, dim: int) -> NDArray[np.float64]:
    """The projection `(from, dim)` onto the directions with the largest ratio of variance between speakers to variance
    within them; the latter is 1 in each.

    Args:
        embeddings: `(utterances, from)`.
        speakers: `(utterances,)` names or numbers.
        dim: how many directions.

    Raises:
        InputError: see `speaker_statistics`; if there are fewer directions in which the speakers' means differ.
    """
    statistics = speaker_statistics(embeddings, speakers)
    size, count = statistics.scatter.shape[0], len(statistics.counts)
    most = min(size, count - 1)
    if not 1 <= dim <= most:
        raise InputError(f"lda={dim} must be 1 to {most} for embeddings of {size} numbers and {count} speakers")
    about = statistics.means - statistics.mean
    between = (statistics.counts * about.T) @ about / statistics.counts.sum()
    chosen = (size - dim, size - 1)  # eigenvalues rise
    _, directions = scipy.linalg.eigh(between, floored(statistics.within, FLOOR), subset_by_index=chosen)
    return directions[:, ::-1]


def train_wccn(embeddings: ArrayLike, speakers: ArrayLike) -> NDArray[np.float64]:
    """The projection `(dim, dim)` after which utterances vary about their speaker equally in all directions.

    Args:
        embeddings: `(utterances, dim)`.
        speakers: `(utterances,)` names or numbers.

    Raises:
        InputError: see `speaker_statistics`.
    """
    within = floored(speaker_statistics(embeddings, speakers).within, FLOOR)
    return np.linalg.cholesky(np.linalg.inv(within))
