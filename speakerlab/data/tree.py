"""The audio files below a folder, with what tells whether they changed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from speakerlab import InputError
from speakerlab.data.audio import AUDIO_SUFFIXES

LISTING_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the folder, with forward slashes
        ("size", pa.int64()),  # bytes; -1 if the file can't be reached
        ("mtime_ns", pa.int64()),
    ]
)


def checked_folder(root: str | Path) -> Path:
    """The absolute path of an existing folder; `~` is expanded.

    Raises:
        InputError: if there is none, or it is a file.
    """
    path = Path(os.path.abspath(Path(root).expanduser()))
    if not path.exists():
        raise InputError(f"{path}: no such folder; check the path")
    if not path.is_dir():
        raise InputError(f"{path}: is a file; give the folder of the corpus")
    return path


def paths_of(given: str | list[str] | None) -> list[Path]:
    """The folders of a setting that takes one, a list or nothing; `~` is expanded."""
    return [Path(path).expanduser() for path in ([given] if isinstance(given, str) else given or [])]


def make_folder(path: Path, key: str) -> Path:
    """Make a folder that the setting `key` names, if need be, and those above it; `~` is expanded.

    Raises:
        InputError: if that can't be.
    """
    path = path.expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{key}={path}: this folder can't be made ({error.strerror}); give another {key}=") from error
    return path


def list_audio(root: Path) -> pa.Table:
    """Files below `root` with one of AUDIO_SUFFIXES, as `LISTING_SCHEMA`, sorted by path.

    Hidden files and folders are skipped; links are followed, except in circles.

    Raises:
        InputError: if a folder can't be listed.
    """
    found = sorted(_walk(str(root), "", (os.path.realpath(root),)))
    columns = zip(*found, strict=True) if found else ([], [], [])
    return pa.table([list(column) for column in columns], schema=LISTING_SCHEMA)


def _walk(folder: str, prefix: str, ancestors: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """Rows of the listing; `ancestors` are the real paths of the folder and those above it."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder}: can't be listed ({error.strerror}); change its rights or move it away") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(ancestors[-1], entry.name)
            if real not in ancestors:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*ancestors, real))
        elif entry.name.lower().endswith(AUDIO_SUFFIXES):
            # A name that is not UTF-8 can't stand in a table; escaped it is not found, and so counted as broken.
            path = (prefix + entry.name).encode("utf-8", "backslashreplace").decode()
            try:
                stat = entry.stat()
                yield path, stat.st_size, stat.st_mtime_ns
            except OSError:
                yield path, -1, 0


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or a share that answers no more
        return False
