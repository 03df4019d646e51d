"""The file of a gallery: a database of SQLite, opened anew for each piece of work: threads and processes may share it.

A commit is on the disk; a process that is killed before leaves nothing of its change. Whatever SQLite and the system
say becomes one line.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from speakerlab import InputError

WAIT_SECONDS = 60.0  # for other processes that write
APPLICATION = 0x73706B31  # in the file's header: whose database it is, and of which layout
LAYOUT = {
    "gallery": "CREATE TABLE gallery (fingerprint TEXT NOT NULL, embed_dim INTEGER NOT NULL, model TEXT NOT NULL)",
    "recordings": (
        "CREATE TABLE recordings (number INTEGER PRIMARY KEY, speaker TEXT NOT NULL, embedding BLOB NOT NULL, "
        "source TEXT NOT NULL, seconds REAL NOT NULL, added TEXT NOT NULL)"
    ),
    "by_speaker": "CREATE INDEX by_speaker ON recordings (speaker)",
}


class Origin(NamedTuple):
    """Whose embeddings a gallery holds.

    fingerprint: of the model; see `ModelCard`.
    embed_dim: of its embeddings.
    model: the path that it was loaded from last; empty if nobody said.
    """

    fingerprint: str
    embed_dim: int
    model: str


def read_origin(path: Path) -> Origin | None:
    """Whose embeddings a gallery holds; None where nobody was ever enrolled.

    Raises:
        InputError: if the file is no gallery, damaged, or can't be read.
    """
    with reading(path) as (_, origin):
        return origin


@contextmanager
def reading(path: Path) -> Iterator[tuple[sqlite3.Connection | None, Origin | None]]:
    """A connection that only reads, and whose embeddings these are; both None where there is no file, or no gallery in
    it yet."""
    with _faults(path):
        if not path.exists() or (path.is_file() and path.stat().st_size == 0):
            yield None, None
            return
    with _connected(path, "ro") as db:
        origin = _origin_in(db, path)
        yield (None if origin is None else db), origin


@contextmanager
def writing(path: Path, origin: Origin) -> Iterator[sqlite3.Connection]:
    """A transaction of the file, which is made if need be: on the disk at the end, undone by an exception.

    Args:
        path: absolute.
        origin: of what is to be written.
    """
    with _faults(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with _connected(path, "rw") as db:
        _origin_in(db, path)  # before anything is changed
        db.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
        db.execute("PRAGMA secure_delete = ON")  # what is removed is overwritten
        with _unless_locked():
            db.execute("PRAGMA journal_mode = WAL")  # readers need not wait; where another prevents it they do
        db.execute("BEGIN IMMEDIATE")
        try:
            _make_or_check(db, path, origin)
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        with suppress(sqlite3.Error):  # what was removed is not in the log either; else at the next commit
            db.execute("PRAGMA busy_timeout = 1000")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check_origin(path: Path, found: Origin, own: Origin) -> None:
    """InputError unless both are of one model."""
    if found[:2] != own[:2]:
        raise InputError(
            f"{path}: holds another model's embeddings, of {found.model or 'an unknown place'} (fingerprint "
            f"{found.fingerprint[:12]}, not {own.fingerprint[:12]}); take that model, or another gallery"
        )


def damaged(path: Path, reason: str) -> InputError:
    """What to say of a gallery that can't be trusted."""
    return InputError(
        f"{path}: the gallery is damaged ({reason}); put a copy in its place, or move it away and enrol anew"
    )


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection without Python's own transactions."""
    with _faults(path):
        if not path.is_file():
            raise InputError(f"{path}: is no file; a gallery is one")
        uri = f"{path.as_uri()}?mode={mode}"
        if mode == "ro" and not os.access(path.parent, os.W_OK) and not _has_log(path):
            uri += "&immutable=1"  # nobody writes there; SQLite would want to put its files beside it
        with closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            yield db


def _has_log(path: Path) -> bool:
    """Whether commits wait beside the file."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _make_or_check(db: sqlite3.Connection, path: Path, origin: Origin) -> None:
    found = _origin_in(db, path)
    if found is None:
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        for statement in LAYOUT.values():
            db.execute(statement)
        db.execute("INSERT INTO gallery VALUES (?, ?, ?)", origin)
        return
    check_origin(path, found, origin)
    if origin.model and origin.model != found.model:
        db.execute("UPDATE gallery SET model = ?", (origin.model,))


def _origin_in(db: sqlite3.Connection, path: Path) -> Origin | None:
    """The origin that a gallery states; None for an empty database.

    Raises:
        InputError: for any other database; nothing in it is touched.
    """
    layout = dict(db.execute("SELECT name, sql FROM sqlite_master"))
    if not layout:
        return None
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION or layout != LAYOUT:
        raise InputError(f"{path}: is no gallery of this version of speakerlab; give another file")
    found = db.execute("SELECT fingerprint, embed_dim, model FROM gallery").fetchall()
    right = len(found) == 1 and [type(value) for value in found[0]] == [str, int, str] and found[0][1] > 0
    if not right or not (found[0][0] + found[0][2]).isprintable():
        raise damaged(path, "whose it is can't be read")
    return Origin(*found[0])


@contextmanager
def _unless_locked() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """What SQLite and the system say, as one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_a_line(path, error) from error
    except OSError as error:
        raise InputError(f"{path}: can't be used as a gallery ({error.strerror})") from error


def _in_a_line(path: Path, error: sqlite3.Error) -> InputError:
    code = _code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return InputError(f"{path}: is no gallery: it is no database of SQLite, or its beginning is damaged")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return InputError(f"{path}: another process has been writing for {WAIT_SECONDS:.0f} s; try again")
    if code == sqlite3.SQLITE_FULL:
        return InputError(f"{path}: no space is left on the disk; the gallery is as it was: make room and try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return InputError(f"{path}: can't be read or written ({error}); see the rights of the file and its folder")
    return damaged(path, str(error))


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary error code."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
