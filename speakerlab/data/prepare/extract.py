"""Takes from archives the members that are not there yet, and nothing that reaches outside the folder."""

import gzip
import io
import os
import stat
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from speakerlab import InputError
from speakerlab.data import Progress

COPY = 2**20
BATCH = 64  # members a job: VoxCeleb2 has a million
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError)


class JoinedFile(io.RawIOBase):
    """Parts of a file, read as if they stood in one: neither the time nor the disk for joining 80 GB.

    Args:
        parts: in order.

    >>> JoinedFile([]).read()
    b''
    """

    def __init__(self, parts: list[Path]):
        self._files = [open(part, "rb") for part in parts]  # noqa: SIM115
        self._ends = list(accumulate(part.stat().st_size for part in parts))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        self._position = max(0, offset + (0, self._position, size)[whence])
        return self._position

    def readinto(self, buffer) -> int:
        place = bisect_right(self._ends, self._position)
        if place == len(self._ends):
            return 0
        start = self._ends[place - 1] if place else 0
        self._files[place].seek(self._position - start)
        count = self._files[place].readinto(buffer)
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def extract(parts: list[Path], folder: Path, workers: int, progress: Progress) -> int:
    """Write the regular files of a zip or tar archive below `folder`, those that are missing or of another size.

    Each is written beside its place and renamed. Links and devices are left out: no corpus has them, and a link could
    lead a later member outside.

    Args:
        parts: the archive, in as many pieces as it came.
        folder: made if need be.
        workers: threads that unpack a zip; a tar is one stream.
        progress: called with bytes done and bytes in all.

    Returns:
        how many files the archive holds.

    Raises:
        InputError: if a member's name leads outside the folder, or the archive is damaged or the disk full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with io.BufferedReader(JoinedFile(parts), COPY) as file:
            if zipfile.is_zipfile(file):
                count = _extract_zip(file, folder, workers, progress)
            else:
                file.seek(0)
                count = _extract_tar(file, folder, sum(part.stat().st_size for part in parts), progress)
    except InputError as error:
        raise InputError(f"{parts[0].name}: {error}") from error
    except DAMAGE as error:
        hint = "make room" if getattr(error, "errno", None) else "remove it and run again"
        raise InputError(f"{parts[0]}: can't be unpacked into {folder} ({error}); {hint}") from error
    if hasattr(os, "sync"):
        os.sync()  # what follows relies on every file: once here is quicker than a million times above
    return count


def _extract_zip(file: BinaryIO, folder: Path, workers: int, progress: Progress) -> int:
    with zipfile.ZipFile(file) as archive:
        members = [(member, _target(folder, member.filename)) for member in archive.infolist() if _is_file(member)]
        total, done, lock = sum(member.file_size for member, _ in members), 0, threading.Lock()

        def write(batch: list[tuple[zipfile.ZipInfo, Path]]) -> None:
            nonlocal done
            for member, target in batch:
                if not _is_there(target, member.file_size):
                    with archive.open(member) as source:
                        _write(source, target)
            with lock:
                done += sum(member.file_size for member, _ in batch)
                progress(done, total)

        batches = [members[start : start + BATCH] for start in range(0, len(members), BATCH)]
        with ThreadPoolExecutor(workers) as threads:
            try:
                for _ in threads.map(write, batches):
                    pass
            finally:
                threads.shutdown(cancel_futures=True)
    return len(members)


def _extract_tar(file: io.BufferedReader, folder: Path, total: int, progress: Progress) -> int:
    """gzip's checksum stands at its end: until that was read, no member is known to be right."""
    targets = []
    zipped = file.peek(2)[:2] == b"\x1f\x8b"
    stream = gzip.GzipFile(fileobj=file) if zipped else file  # tarfile's own reader does not check the sum
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    targets.append(_target(folder, member.name))
                    if not _is_there(targets[-1], member.size):
                        _write(archive.extractfile(member), targets[-1])
                progress(file.tell(), total)
        for _ in _blocks(stream):
            pass
    except DAMAGE as error:
        if not getattr(error, "errno", None):
            for target in targets:
                target.unlink(missing_ok=True)
        raise
    progress(total, total)
    return len(targets)


def _is_file(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return not member.is_dir() and kind in (0, stat.S_IFREG)


def _target(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or ":" in parts[0]:
        raise InputError(f"its member {name!r} leads outside {folder}; this is not the corpus, don't use it")
    return folder.joinpath(*parts)


def _is_there(target: Path, size: int) -> bool:
    try:
        return target.stat().st_size == size
    except OSError:
        return False


def _write(source: BinaryIO, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")  # one name: what a kill leaves is written over
    with open(temporary, "wb") as file:
        for block in _blocks(source):
            file.write(block)
    os.replace(temporary, target)


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(COPY):
        yield block
