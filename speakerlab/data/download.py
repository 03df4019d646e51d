"""Downloads in parallel threads: resumed by range, retried, checked by their hash, in place only when whole."""

import hashlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import requests
import urllib3

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.journal import Journal

TRIES = 5  # in a row that bring nothing; a try that brings bytes starts the count anew
FIRST_WAIT = 1.0  # seconds before the second try; doubled each time
LONGEST_WAIT = 60.0
TIMEOUT = (15.0, 60.0)  # seconds to connect, and without a byte
CHUNK = 2**20
SLOWEST, PATIENCE = 1000, 120.0  # bytes a second, over so many seconds, below which an address is given up
FINAL = (400, 401, 403, 404, 410)  # answers that a further try does not change
log = logging.getLogger("speakerlab")


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        name: that it gets.
        urls: the addresses to try in turn.
        md5: where it is known.
        bytes: its size, where it is known.
        sha256: where it is known.
        largest: bytes; more are not taken.
    """

    name: str
    urls: tuple[str, ...]
    md5: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    largest: int | None = None

    @property
    def hash(self) -> tuple[str, str] | None:
        """The name of the hash that is known, and its value."""
        if self.sha256 is not None:
            return "SHA-256", self.sha256
        return None if self.md5 is None else ("MD5", self.md5)


class Login(NamedTuple):
    """Name and password for one host alone: lists and fallback addresses lie elsewhere, and must not learn them."""

    name: str
    password: str
    url: str  # any on that host

    def given_to(self, url: str) -> tuple[str, str] | None:
        """Name and password if `url` is on the host, with the same scheme and port."""
        own, other = urllib3.util.parse_url(self.url), urllib3.util.parse_url(url)
        same = (own.scheme, own.host, own.port) == (other.scheme, other.host, other.port)
        return (self.name, self.password) if same else None


class Downloader:
    """Fetches files into a folder.

    Args:
        folder: for the files, and for what has come of unfinished ones (`.NAME.part`).
        checked: remembers whose hash was right, so that nothing is read twice for it.
        login: for the host that wants one; None leaves it to `~/.netrc`.
        connections: files at a time.
    """

    def __init__(self, folder: Path, checked: Journal, login: Login | None, connections: int):
        self.folder, self.checked, self.login, self.connections = folder, checked, login, connections
        self.stop = threading.Event()

    def fetch(self, files: list[RemoteFile], progress: Progress) -> None:
        """Bring all files that are not there yet; the others go on where one fails.

        Args:
            files: to fetch.
            progress: called with bytes that are there, and bytes in all as far as is known (0 if it is not).

        Raises:
            InputError: naming the files that could not be had, and why.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stop.clear()
        meter = _Meter([file for file in files if not self.is_whole(file)], self.folder, progress)
        failed: dict[str, list[str]] = {}  # reason -> names
        with ThreadPoolExecutor(self.connections) as threads:
            jobs = {threads.submit(self._fetch, file, meter): file for file in meter.files}
            try:
                for job in as_completed(jobs):
                    if job.exception() is not None and not isinstance(job.exception(), _Failed):
                        raise job.exception()
                    if job.exception() is not None:
                        failed.setdefault(str(job.exception()), []).append(jobs[job].name)
            finally:
                self.stop.set()
                threads.shutdown(cancel_futures=True)
        if failed:
            told = "; ".join(sorted(f"{_several(names)} ({reason})" for reason, names in failed.items()))
            raise InputError(f"not downloaded: {told}; run again to go on, or put the files into {self.folder}")

    def is_whole(self, file: RemoteFile) -> bool:
        """Whether the file is there, with the right hash where that is known; reads it if it is new here.

        Raises:
            InputError: if a file of this name is another one.
        """
        path = self.folder / file.name
        if not path.is_file():
            return False
        stat = path.stat()
        if file.hash is None:
            return True
        kind, value = file.hash
        facts = [stat.st_size, stat.st_mtime_ns, value]
        if self.checked.get(file.name) != facts:
            if _hash(path, kind) != value:
                raise InputError(f"{path}: is damaged or another file (its {kind} is not {value}); remove it")
            self.checked.add(file.name, *facts)
        return True

    def _fetch(self, file: RemoteFile, meter: "_Meter") -> None:
        """Try the addresses in turn, each as often as its answers leave hope."""
        reasons = []
        for url in file.urls:
            vain, damaged = 0, False
            while vain < TRIES:
                if vain and self._stopped_while_waiting(f"{file.name}: {reasons[-1]}", vain):
                    raise _Failed("stopped")
                held = self._held(file)
                try:
                    self._transfer(file, url, meter)
                    return
                except _Hopeless as error:
                    reasons.append(str(error))
                    break
                except _Damaged as error:  # once more from the start: the resumed half may have been another version
                    reasons.append(str(error))
                    if damaged:
                        break
                    damaged = True
                except (requests.RequestException, urllib3.exceptions.HTTPError, _Failed) as error:
                    reasons.append(_short(error))
                vain = 1 if self._held(file) > held else vain + 1
        raise _Failed(", ".join(dict.fromkeys(reasons)) or "no address is known")

    def _stopped_while_waiting(self, what: str, vain: int) -> bool:
        """Wait before another try, and say why."""
        seconds = min(FIRST_WAIT * 2 ** (vain - 1), LONGEST_WAIT)
        log.warning(f"{what}; trying again in {seconds:.0f} s")
        return self.stop.wait(seconds)

    def _held(self, file: RemoteFile) -> int:
        part, _ = partial_of(self.folder, file)
        return part.stat().st_size if part.is_file() else 0

    def _transfer(self, file: RemoteFile, url: str, meter: "_Meter") -> None:
        """One request, from where the last one ended."""
        part, tag = partial_of(self.folder, file)
        held = self._held(file)
        validator = tag.read_text() if tag.is_file() else ""
        if held and not validator and file.hash is None:
            held = meter.forget(part)  # nothing would tell if the server's file had changed
        headers = {"Accept-Encoding": "identity"}
        if held:
            headers |= {"Range": f"bytes={held}-"} | ({"If-Range": validator} if validator else {})
        auth = self.login.given_to(url) if self.login else None
        with requests.get(url, headers=headers, auth=auth, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416 and held == _range_total(answer):
                pass  # all of it is here
            elif answer.status_code in (200, 206):
                self._receive(file, answer, held, meter)
            else:
                self._refuse(answer, part, meter)
        self._finish(file, meter)

    def _refuse(self, answer: requests.Response, part: Path, meter: "_Meter") -> None:
        host = urllib3.util.parse_url(answer.url).host
        if answer.status_code == 416:
            meter.forget(part)
            raise _Failed(f"{host} refused to resume")
        hint = ""
        if answer.status_code in (401, 403):
            hint = (
                "; check the name and the password"
                if self.login
                else "; give --user and SPEAKERLAB_PASSWORD, or ~/.netrc"
            )
        reason = f"{host} answers {answer.status_code} {answer.reason}{hint}"
        raise (_Hopeless if answer.status_code in FINAL else _Failed)(reason)

    def _receive(self, file: RemoteFile, answer: requests.Response, held: int, meter: "_Meter") -> None:
        part, tag = partial_of(self.folder, file)
        if answer.status_code == 200 and held:  # the server knows no ranges, or has another file now
            held = meter.forget(part)
        if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            meter.forget(part)
            raise _Failed("the server sent another range than asked for")
        length = answer.headers.get("Content-Length")
        total = held + int(length) if length else None
        _check_size(file, total or 0)
        meter.expect(file, total)
        validator = answer.headers.get("ETag", "")
        validator = (
            answer.headers.get("Last-Modified", "") if validator.startswith("W/") or not validator else validator
        )
        tag.write_text(validator)
        since, come = time.monotonic(), 0
        with open(part, "ab") as target:
            # The body as it is: requests would unpack a .tar.gz that is sent as "Content-Encoding: gzip".
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                target.write(chunk)
                meter.add(len(chunk))
                come += len(chunk)
                _check_size(file, held + come)
                if self.stop.is_set():
                    raise _Failed("stopped")
                if time.monotonic() - since > PATIENCE:
                    if come < SLOWEST * PATIENCE:
                        raise _Hopeless(f"{urllib3.util.parse_url(answer.url).host} sends next to nothing")
                    held, since, come = held + come, time.monotonic(), 0
        if total is not None and part.stat().st_size < total:
            raise _Failed("the connection was cut")

    def _finish(self, file: RemoteFile, meter: "_Meter") -> None:
        """Check the whole file and put it in its place."""
        part, tag = partial_of(self.folder, file)
        if file.hash is not None and _hash(part, file.hash[0]) != file.hash[1]:
            meter.forget(part)
            raise _Damaged(f"its {file.hash[0]} is wrong")
        target = self.folder / file.name
        os.replace(part, target)
        stat = target.stat()
        if file.hash is not None:
            self.checked.add(file.name, stat.st_size, stat.st_mtime_ns, file.hash[1])
        tag.unlink(missing_ok=True)


def _several(names: list[str]) -> str:
    """Names in few words.

    >>> _several(["b"]), _several(["d", "c", "b", "a"])
    ('b', '4 files such as a')
    """
    return ", ".join(sorted(names)) if len(names) <= 3 else f"{len(names)} files such as {min(names)}"


def partial_of(folder: Path, file: RemoteFile) -> tuple[Path, Path]:
    """Where an unfinished download lies, and what tells whether the server still has the same file."""
    return folder / f".{file.name}.part", folder / f".{file.name}.tag"


class _Failed(Exception):
    """This try came to nothing; the next may not."""


class _Hopeless(_Failed):
    """No further try at this address."""


class _Damaged(_Failed):
    """It came whole and is not the file."""


class _Meter:
    """Adds up the bytes of all threads. Parts that lie there from an earlier run count as there from the start."""

    def __init__(self, files: list[RemoteFile], folder: Path, progress: Progress):
        self.files, self._progress, self._lock = files, progress, threading.Lock()
        self._totals = {file.name: file.bytes for file in files}
        parts = [partial_of(folder, file)[0] for file in files]
        self._done = sum(part.stat().st_size for part in parts if part.is_file())
        self.add(0)

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            sizes = self._totals.values()
            self._progress(self._done, 0 if None in sizes else sum(sizes))

    def expect(self, file: RemoteFile, total: int | None) -> None:
        if total is not None:
            self._totals[file.name] = total

    def forget(self, part: Path) -> int:
        """Throw away what has come of a file; gives 0, the bytes that are left."""
        if part.is_file():
            self.add(-part.stat().st_size)
            part.unlink()
        return 0


def _check_size(file: RemoteFile, size: int) -> None:
    if file.largest is not None and size > file.largest:
        raise _Hopeless(f"it has over {file.largest / 1e6:,.0f} MB")


def _hash(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind.lower().replace("-", "")).hexdigest()


def _range_total(answer: requests.Response) -> int:
    """The file's size in `Content-Range: bytes */SIZE`; -1 if it is not said."""
    size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdigit() else -1


def _short(error: Exception) -> str:
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error) if isinstance(error, _Failed) else "the connection was cut"
