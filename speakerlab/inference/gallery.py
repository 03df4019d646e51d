"""The gallery: enrolled speakers in a file, which belongs to one model.

What `add` and `remove` have returned from is on the disk, and any number of processes may read and write at once.
Embeddings of voices are personal data: the file is made for its owner's eyes alone, and what is removed is overwritten.
"""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speakerlab import InputError
from speakerlab.inference.gallery_file import Origin, check_origin, damaged, read_origin, reading, writing
from speakerlab.scoring.cosine import unit_rows

VARIABLE = "SPEAKERLAB_GALLERY"  # of the environment: the file that is meant where nobody names one
LONGEST_NAME = 200
JOINERS = "\u200c\u200d"  # of letters in Persian and Indian names; other invisible characters are refused


class Source(NamedTuple):
    """What an embedding is of: a file or whatever the caller calls it, and its duration in seconds."""

    name: str
    seconds: float


class EnrolledSpeaker(NamedTuple):
    """A speaker of a gallery: the number of recordings, their total duration, and when the first was enrolled (ISO
    8601, UTC)."""

    name: str
    recordings: int
    seconds: float
    since: str


class Gallery:
    """Enrolled speakers in a file, which the first `add` makes.

    Args:
        path: of the file; `~` is expanded.
        fingerprint: of the model whose embeddings it holds; see `ModelCard`.
        embed_dim: of them.
        model: the path of that model, for whoever opens the gallery next.

    Attributes:
        path: absolute.
        origin: the other arguments; of `at`, what the file states.

    Raises:
        InputError: if the file is no gallery, damaged, can't be read, or holds another model's embeddings.
    """

    def __init__(self, path: str | Path, fingerprint: str, embed_dim: int, model: str | Path = ""):
        self.path = Path(path).expanduser().absolute()
        self.origin = Origin(fingerprint, embed_dim, str(model) if str(model).isprintable() else "")
        with self._reading():
            pass

    @classmethod
    def at(cls, path: str | Path) -> "Gallery":
        """The gallery of a file that is there, whatever its model.

        Raises:
            InputError: as above, and if nobody was ever enrolled in it.
        """
        origin = read_origin(Path(path).expanduser().absolute())
        if origin is None:
            raise InputError(f"{path}: there is no such gallery: nobody is enrolled yet")
        return cls(path, *origin)

    def add(self, name: str, rows: ArrayLike, sources: Sequence[Source]) -> int:
        """Enrol a speaker, or more recordings of one; what is there to the bit is not added again.

        Args:
            name: of the speaker; see `checked_name`.
            rows: `(recordings, embed_dim)`.
            sources: `(recordings,)`.

        Returns:
            How many recordings are new. They are on the disk.

        Raises:
            InputError: for an impossible name, embeddings that are none, or a file that can't be written.
        """
        name = checked_name(name)
        rows = np.ascontiguousarray(rows, dtype="<f4")
        if rows.ndim != 2 or rows.shape[1] != self.origin.embed_dim or not len(rows) == len(sources) > 0:
            raise InputError(
                f"embeddings of the shape {rows.shape} with {len(sources)} sources; as many of each are needed, of "
                f"{self.origin.embed_dim} dimensions"
            )
        unit_rows(rows)  # refuses zeros, NaN and infinity
        fresh = {row.tobytes(): source for row, source in zip(rows, sources, strict=True)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with writing(self.path, self.origin) as db:
            known = {found for (found,) in db.execute("SELECT embedding FROM recordings WHERE speaker = ?", (name,))}
            new = [
                (name, row, _storable(source.name), float(source.seconds), now)
                for row, source in fresh.items()
                if row not in known
            ]
            db.executemany(
                "INSERT INTO recordings (speaker, embedding, source, seconds, added) VALUES (?, ?, ?, ?, ?)", new
            )
        return len(new)

    def remove(self, name: str) -> int:
        """Forget a speaker: nothing of the embeddings stays in the file.

        Returns:
            How many recordings were removed.

        Raises:
            InputError: if nobody of this name is enrolled, with the nearest name, or the file can't be written.
        """
        known = [speaker.name for speaker in self.speakers()]
        composed = unicodedata.normalize("NFC", name)
        if composed in known:
            with writing(self.path, self.origin) as db:
                removed = db.execute("DELETE FROM recordings WHERE speaker = ?", (composed,)).rowcount
            if removed:  # nobody else was quicker
                return removed
        near = get_close_matches(composed, known, n=1)
        hint = f"; did you mean {near[0]}?" if near and near[0] != composed else ""
        raise InputError(f"{name!r:.60}: nobody of this name is enrolled in {self.path}{hint}")

    def speakers(self) -> list[EnrolledSpeaker]:
        """Everybody who is enrolled, by name.

        Raises:
            InputError: if the file can't be read or is damaged.
        """
        query = "SELECT speaker, count(*), sum(seconds), min(added) FROM recordings GROUP BY speaker ORDER BY speaker"
        with self._reading() as db:
            found = [] if db is None else db.execute(query).fetchall()
        for name, _, seconds, since in found:
            self._check_name(name)
            if not isinstance(seconds, float) or not isinstance(since, str) or not since.isprintable():
                raise damaged(self.path, f"the recordings of {name}")
        return [EnrolledSpeaker(*row) for row in found]

    def centroids(self) -> tuple[list[str], NDArray[np.float32]]:
        """The speakers' names, sorted, and `(speakers, embed_dim)` float32: of each the direction of the mean of the
        embeddings at unit length.

        Raises:
            InputError: if the file can't be read or is damaged.
        """
        dim = self.origin.embed_dim
        with self._reading() as db:
            query = "SELECT speaker, embedding FROM recordings ORDER BY speaker, number"
            found = [] if db is None else db.execute(query).fetchall()
        if not found:
            return [], np.empty((0, dim), np.float32)
        if any(not isinstance(row, bytes) or len(row) != 4 * dim for _, row in found):
            raise damaged(self.path, "embeddings of another size")
        starts = [i for i, (name, _) in enumerate(found) if i == 0 or name != found[i - 1][0]]
        names = [found[i][0] for i in starts]
        for name in names:
            self._check_name(name)
        rows = np.frombuffer(b"".join(row for _, row in found), "<f4").reshape(len(found), dim)
        try:
            return names, unit_rows(np.add.reduceat(unit_rows(rows), starts)).astype(np.float32)
        except InputError as error:
            raise damaged(self.path, "embeddings without a direction") from error

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        with reading(self.path) as (db, found):
            if found is not None:
                check_origin(self.path, found, self.origin)
            yield db

    def _check_name(self, name: object) -> None:
        """Names may be shown: what was put there by another program is not trusted."""
        try:
            whole = isinstance(name, str) and checked_name(name) == name
        except InputError:
            whole = False
        if not whole:
            raise damaged(self.path, "a speaker's name")


def default_gallery() -> Path:
    """The file that is meant where nobody names one: `SPEAKERLAB_GALLERY`, else in the folder of programs' data."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.environ.get(VARIABLE) or Path(data, "speakerlab", "gallery.sqlite")).expanduser()


def checked_name(name: str) -> str:
    """A speaker's name as it is stored: composed characters, so that equal names are equal.

    Raises:
        InputError: for no name, a blank at an end, control and invisible characters, or more than 200 characters.
    """
    if not name or name != name.strip():
        raise InputError(f"{name[:40]!r} is no name of a speaker: it is empty, or begins or ends with a blank")
    composed = unicodedata.normalize("NFC", name)
    if len(composed) > LONGEST_NAME:
        raise InputError(f"{name[:40]!r}... has {len(composed):,} characters; a name has at most {LONGEST_NAME}")
    if not composed.translate(dict.fromkeys(map(ord, JOINERS))).isprintable():
        raise InputError(f"{name[:40]!r} is no name of a speaker: it holds control or invisible characters")
    return composed


def _storable(text: str) -> str:
    """A file's name, which may be no Unicode, as text that SQLite takes."""
    return str(text).encode("utf-8", "backslashreplace").decode()
