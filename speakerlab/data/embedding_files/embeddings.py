"""Embeddings by the names of their utterances, as every file format gives and takes them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from speakerlab import InputError
from speakerlab.data.utterance_names import rows_named

SHOWN = 3  # examples in a message


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One row an utterance.

    Attributes:
        names: of the utterances, each once.
        rows: `(utterances, dim)` float32, finite.
        speakers: of each utterance; None where nobody said.
        source: where they come from; for messages.
        splits: train, val, test or the like of each utterance; None where nobody said.
        checkpoint: of the network that made them; None where nobody said.
    """

    names: list[str]
    rows: np.ndarray
    speakers: list[str] | None
    source: str
    splits: list[str] | None = None
    checkpoint: str | None = None

    def __len__(self) -> int:
        return len(self.names)

    def rows_of(self, names: Sequence[str], wanted_by: str) -> np.ndarray:
        """Position of each utterance's row, `(names,)`; one with another audio suffix is taken where the exact name is
        missing.

        Args:
            names: of utterances.
            wanted_by: what names them, for messages.

        Raises:
            InputError: with the number of those that are not there, and the first.
        """
        rows = rows_named(pa.table({"utterance": pa.array(self.names, pa.string())}), names)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            firsts = ", ".join(names[i] for i in missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
            raise InputError(
                f"{self.source}: {len(missing):,} of the {len(names):,} utterances of {wanted_by} have no embedding: "
                f"{firsts}; here the first is {self.names[0]}"
            )
        return rows


def checked(
    names: Sequence[str],
    rows: ArrayLike | Sequence[ArrayLike],
    source: str,
    speakers: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
) -> Embeddings:
    """Embeddings as they were read, if they can be used.

    Args:
        names: of the utterances.
        rows: `(utterances, dim)`, or a `(dim,)` or `(1, dim)` for each.
        source: the file, for messages.
        speakers, splits: of the utterances, where known.

    Raises:
        InputError: if there are none, counts differ, a name is empty or occurs twice, or rows differ in size, are no
            numbers or not finite.
    """
    names = list(names)
    if not len(names):
        raise InputError(f"{source}: holds no embeddings")
    if not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{source}: not every utterance has a name; names are texts that are not empty")
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise InputError(f"{source}: utterance {name!r} occurs {times} times; names must be unique")
    if speakers is not None and (
        len(speakers) != len(names) or not all(isinstance(one, str) and one for one in speakers)
    ):
        raise InputError(f"{source}: not each of its {len(names):,} utterances has a speaker; name all or none")
    if splits is not None and (len(splits) != len(names) or not all(isinstance(one, str) for one in splits)):
        raise InputError(f"{source}: not each of its {len(names):,} utterances has a split; name all or none")
    table = _table(names, rows, source)
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise InputError(
            f"{source}: {len(bad):,} of {len(table):,} embeddings hold NaN or infinity, the first of them that of "
            f"{names[bad[0]]}"
        )
    speakers, splits = (None if column is None else list(column) for column in (speakers, splits))
    return Embeddings(names, table, speakers, source, splits)


def _table(names: list[str], rows: ArrayLike | Sequence[ArrayLike], source: str) -> np.ndarray:
    """`(utterances, dim)` float32."""
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2 or len(rows) != len(names) or not rows.shape[1]:
            raise InputError(
                f"{source}: {len(names):,} names need embeddings of the shape ({len(names)}, dim), not {rows.shape}"
            )
        return _numbers(rows, source)
    if len(rows) != len(names):
        raise InputError(f"{source}: {len(names):,} names, but {len(rows):,} embeddings")
    vectors = [np.asarray(row) for row in rows]
    vectors = [vector[0] if vector.ndim == 2 and len(vector) == 1 else vector for vector in vectors]
    for name, vector in zip(names, vectors, strict=True):
        if vector.ndim != 1 or not len(vector):
            raise InputError(f"{source}: {name} has an array of the shape {vector.shape}, not one embedding (dim,)")
        if len(vector) != len(vectors[0]):
            raise InputError(
                f"{source}: {name} has {len(vector)} numbers and {names[0]} {len(vectors[0])}; all need the same"
            )
        _check_kind(vector, source)
    return np.stack([vector.astype(np.float32) for vector in vectors])


def _numbers(rows: np.ndarray, source: str) -> np.ndarray:
    _check_kind(rows, source)
    with np.errstate(over="ignore"):  # beyond float32: infinity, which is refused
        return np.ascontiguousarray(rows, np.float32)


def _check_kind(array: np.ndarray, source: str) -> None:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{source}: its embeddings are of the type {array.dtype}, not real numbers")
