"""The folder that uploaded files lie in, and the only way from a path that a browser sends to what is in a file."""

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from speakerlab import InputError
from speakerlab.data.audio import AudioBytes
from speakerlab.inference.page.limits import MEGABYTE, Limits

PREFIX = "speakerlab-page-"  # of folders
LONGEST_NAME = 60


class Uploads:
    """Uploaded files, each for some minutes; all are gone after `close`.

    Args:
        limits: on sizes and ages.

    Attributes:
        folder: for the owner's eyes alone.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        sweep_abandoned()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name).resolve()
        self._lock = _locked(self.folder)
        self._closing = threading.Event()
        threading.Thread(target=self._sweep_always, daemon=True).start()

    def holds(self, path: object) -> bool:
        """Whether a path is of a file that was uploaded, and no way out of the folder."""
        if not isinstance(path, str) or "\0" in path or len(path) > 4096:
            return False
        given = Path(path)
        try:
            return given.is_absolute() and given.resolve().is_relative_to(self.folder) and given.is_file()
        except OSError:
            return False

    def read(self, path: object) -> AudioBytes:
        """What an uploaded file holds, under the name that it had.

        Raises:
            InputError: if it is no uploaded file, or too large.
        """
        if not self.holds(path):
            raise InputError("that is no file uploaded to this page, or it was deleted meanwhile: upload it again")
        name = _shown_name(Path(path))
        descriptor = os.open(Path(path).resolve(), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as file:
            data = file.read(int(self.limits.megabytes * MEGABYTE) + 1)
        if len(data) > self.limits.megabytes * MEGABYTE:
            raise InputError(f"{name}: is larger than {self.limits.megabytes:g} MB: cut it")
        return AudioBytes(name, data)

    def room(self, size: int) -> bool:
        """Whether so many bytes more may be uploaded now."""
        return self._size() + size <= self.limits.folder_megabytes * MEGABYTE

    def sweep(self, now: float | None = None) -> int:
        """Delete what is too old, and say how many files it was."""
        oldest = (time.time() if now is None else now) - self.limits.kept_seconds
        deleted = 0
        for path in list(self.folder.rglob("*")):
            try:
                if path.is_symlink() or (path.is_file() and path.stat().st_mtime < oldest):
                    path.unlink()
                    deleted += 1
                elif path.is_dir() and path.stat().st_mtime < oldest:
                    path.rmdir()
            except OSError:  # gone meanwhile, or a folder that is not empty
                continue
        return deleted

    def close(self) -> None:
        """Delete everything."""
        self._closing.set()
        self._folder.cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _size(self) -> int:
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
        return total

    def _sweep_always(self) -> None:
        while not self._closing.wait(min(30.0, self.limits.kept_seconds)):
            self.sweep()


def sweep_abandoned() -> None:
    """Delete the folders of servers that were killed: whoever is alive holds a lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not folder.is_symlink() and (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None if another has it, or there is nothing of the kind here."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except OSError:
        os.close(descriptor)
        return None


def _shown_name(path: Path) -> str:
    """The file's name in printable characters, its suffix whole: the decoder goes by it."""
    stem = "".join(sign if sign.isprintable() else "?" for sign in path.stem)
    suffix = "".join(sign for sign in path.suffix if sign.isprintable())[:10]
    return (stem if len(stem) <= LONGEST_NAME else f"{stem[: LONGEST_NAME - 1]}…") + suffix
