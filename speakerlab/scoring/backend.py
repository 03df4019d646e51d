"""A back end: what makes of embeddings the rows whose products are scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.scoring.cosine import unit_rows
from speakerlab.scoring.discriminants import train_lda, train_wccn
from speakerlab.scoring.plda import Plda, length_normalised, train_plda

KINDS = ("cosine", "plda")


@dataclass(frozen=True)
class Backend:
    """Centring, projection, then a cosine or the ratio of a PLDA; each step may be left out.

    Attributes:
        mean: `(dim,)`, subtracted first.
        projection: `(dim, out)`.
        plda: of length-normalised embeddings; None scores by cosine.
    """

    mean: NDArray[np.float64] | None = None
    projection: NDArray[np.float64] | None = None
    plda: Plda | None = None

    def sides(self, embeddings: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The left and the right rows `(utterances, columns)`: a left one times a right one is a score.

        Raises:
            InputError: if an embedding is NaN or infinite, or zero after the mean is subtracted.
        """
        if self.plda is not None:
            return self.plda.sides(length_normalised(self._projected(np.asarray(embeddings, np.float64))))
        if self.projection is None:
            rows = unit_rows(embeddings, self.mean)
        else:
            rows = unit_rows(self._projected(np.asarray(embeddings)))
        return rows, rows

    def _projected(self, x: NDArray) -> NDArray:
        x = x if self.mean is None else x - self.mean.astype(x.dtype)
        return x if self.projection is None else x @ self.projection.astype(x.dtype)


class Averaged:
    """The back end of rows that are scored as they are: means over crops, each of which has the length 1."""

    def sides(self, embeddings: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        rows = np.asarray(embeddings)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise InputError(f"{len(bad)} of {len(rows)} embeddings are NaN or infinite; the first is row {bad[0]}")
        return rows, rows


def train_backend(
    embeddings: ArrayLike,
    speakers: ArrayLike,
    kind: str = "cosine",
    subtract_mean: bool = False,
    lda: int | None = None,
    wccn: bool = False,
) -> Backend:
    """Train each step on what the steps before it leave.

    Args:
        embeddings: `(utterances, dim)`.
        speakers: `(utterances,)` names or numbers.
        kind: of `KINDS`; a PLDA is always centred, and is of length-normalised embeddings.
        subtract_mean: of these embeddings.
        lda: directions to project onto.
        wccn: normalise the covariance within speakers.

    Raises:
        InputError: for another kind; see `train_lda`.
    """
    if kind not in KINDS:
        raise InputError(f"back end {kind!r} must be one of {', '.join(KINDS)}")
    x = np.asarray(embeddings, np.float64)
    mean = x.mean(axis=0) if subtract_mean or kind == "plda" else None
    x = x if mean is None else x - mean
    projection = None
    if lda is not None:
        projection = train_lda(x, speakers, lda)
        x = x @ projection
    if wccn:
        whitening = train_wccn(x, speakers)
        projection = whitening if projection is None else projection @ whitening
        x = x @ whitening
    plda = train_plda(length_normalised(x), speakers)[0] if kind == "plda" else None
    return Backend(mean, projection, plda)
