"""Embeddings that several networks gave for the same utterances."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from speakerlab import InputError
from speakerlab.data.amounts import counted
from speakerlab.data.embedding_files.embeddings import SHOWN, Embeddings


@dataclass(frozen=True, eq=False)
class Branches:
    """The same utterances in the same order, once a network.

    Attributes:
        sources: of each network; the first one's `names` are the utterances'.
        labels: what the user calls the networks; None where they are told apart by their order.
    """

    sources: tuple[Embeddings, ...]
    labels: tuple[str, ...] | None = None

    @property
    def dims(self) -> list[int]:
        """Size of each network's embeddings."""
        return [source.rows.shape[1] for source in self.sources]

    def rows_of(self, names: Sequence[str], wanted_by: str) -> np.ndarray:
        """As `Embeddings.rows_of`: the same for every network."""
        return self.sources[0].rows_of(names, wanted_by)

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """`(rows, dim)` of each network."""
        return [source.rows[rows] for source in self.sources]

    def in_order(self, names: Sequence[str], key: str) -> "Branches":
        """In the order of a model's branches.

        Args:
            names: of the branches.
            key: of the setting that gave the sources, for messages.

        Raises:
            InputError: if there are more or fewer, or the user's labels are not these names.
        """
        if self.labels is None:
            if len(self.sources) != len(names):
                raise InputError(
                    f"{key} has {counted(len(self.sources), 'source')}, but the model {len(names)} branches "
                    f"({', '.join(names)}): give one for each, in this order"
                )
            return self
        if set(self.labels) != set(names):
            raise InputError(f"{key} is of {', '.join(self.labels)}, but the model's branches are {', '.join(names)}")
        return Branches(tuple(self.sources[self.labels.index(name)] for name in names))


def join(sources: Sequence[Embeddings], labels: Sequence[str] | None = None) -> Branches:
    """Bring all sources into the order of the first, by the utterances' names.

    Args:
        sources: one a network.
        labels: what they are called.

    Raises:
        InputError: if one has not the same utterances, or says another speaker of one; it names what differs.
    """
    first, joined = sources[0], [sources[0]]
    for other in sources[1:]:
        rows = other.rows_of(first.names, first.source)
        if len(other) > len(first):
            extra = np.setdiff1d(np.arange(len(other)), rows)
            shown = ", ".join(other.names[row] for row in extra[:SHOWN]) + (", ..." if len(extra) > SHOWN else "")
            raise InputError(
                f"{first.source}: {len(extra):,} of the {len(other):,} utterances of {other.source} have no embedding: "
                f"{shown}; all branches need the same utterances"
            )
        joined.append(taken(other, rows, first.names))
    check_speakers(joined)
    return Branches(tuple(joined), None if labels is None else tuple(labels))


def taken(source: Embeddings, rows: np.ndarray, names: list[str]) -> Embeddings:
    """Some rows of a source under the names by which they are asked for."""
    told = {
        column: None if values is None else [values[row] for row in rows]
        for column, values in (("speakers", source.speakers), ("splits", source.splits))
    }
    return replace(source, names=names, rows=source.rows[rows], **told)


def check_speakers(sources: Sequence[Embeddings]) -> None:
    """InputError if two sources with the same utterances in the same order say another speaker of one."""
    _check_alike(sources, "speakers", "speaker")


def check_size(source: Embeddings, name: str, dim: int, advice: str = "") -> None:
    """InputError if the embeddings of the branch `name` have another size than its network gives; it ends with the
    advice."""
    if source.rows.shape[1] != dim:
        raise InputError(
            f"{source.source}: its embeddings have {source.rows.shape[1]} numbers, but those of the model's branch "
            f"{name} {dim}{advice}"
        )


def told(branches: Branches, column: str) -> list[str] | None:
    """The first "speakers" or "splits" that a source has; None where none says any."""
    return next((getattr(one, column) for one in branches.sources if getattr(one, column) is not None), None)


def check_splits(branches: Branches) -> None:
    """InputError if two sources put an utterance into different splits."""
    _check_alike(branches.sources, "splits", "split")


def _check_alike(sources: Sequence[Embeddings], column: str, kind: str) -> None:
    known = [source for source in sources if getattr(source, column) is not None]
    for other in known[1:]:
        pairs = zip(getattr(known[0], column), getattr(other, column), strict=True)
        differ = [row for row, (one, two) in enumerate(pairs) if one != two]
        if differ:
            name = known[0].names[differ[0]]
            one, two = (getattr(source, column)[differ[0]] for source in (known[0], other))
            raise InputError(
                f"{known[0].source} and {other.source} differ in the {kind} of {len(differ):,} of {len(other):,} "
                f"utterances, such as {name}: {one} and {two}"
            )
