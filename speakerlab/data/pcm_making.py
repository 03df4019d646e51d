"""Decodes a manifest's audio into the folder that `speakerlab.data.pcm` describes."""

import csv
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.amounts import counted, size
from speakerlab.data.audio import AudioError
from speakerlab.data.left_out import refusal, too_many
from speakerlab.data.manifest import replacing, sync, write_rows
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.wav import to_pcm16

AUDIO, INDEX, LEFT_OUT, PARTS = "audio.pcm", "index.npy", "left_out.csv", "parts"
PART_SAMPLES = 2**24  # 32 MB, a second's work or two: what a kill loses
log = logging.getLogger("speakerlab")


class Unreadable(NamedTuple):
    """A row that is left out, a line of `left_out.csv`."""

    path: str
    reason: str
    row: int
    stamp: str  # of its file, from before it was tried


@dataclass
class _Part:
    """Consecutive rows `first <= row < last`: how many samples each has, 0 if it can't be read, and why."""

    first: int
    last: int
    lengths: list[int]
    faults: list[Unreadable]


class Making:
    """Every row has its place in the file from the start, so that parts can be decoded in any order, twice too.

    Args:
        table: manifest.
        sample_rate: of the cache, in hertz.
        folder: of the cache; this process is at work in it alone.
    """

    def __init__(self, table: pa.Table, sample_rate: int, folder: Path):
        self.files = AudioFiles(table, sample_rate)
        self.folder = folder
        # A resampler rounds; a row of another rate may leave a sample of its place unused.
        lengths = -(-self.files.samples * sample_rate // self.files.sample_rates)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])  # (rows + 1,)

    def run(self, max_bad_share: float, workers: int, progress: Progress | None) -> None:
        """Make the cache, or what an interrupted call has left to do.

        Raises:
            InputError: if the disk is too small or more rows than allowed can't be read; they are listed, and tried
                again by the next call.
        """
        rows, bytes_in_all = len(self.starts) - 1, 2 * int(self.starts[-1])
        (self.folder / INDEX).unlink(missing_ok=True)
        if not (self.folder / AUDIO).exists():  # the records, if any, are of one that somebody removed
            shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        (self.folder / PARTS).mkdir(exist_ok=True)
        with open(self.folder / AUDIO, "ab") as audio:
            self._check_space(rows, bytes_in_all, audio.fileno())
            audio.truncate(bytes_in_all)
        lengths, done, faults = np.zeros(rows, np.int64), 0, []
        pool = ThreadPoolExecutor(workers)
        try:
            for task in as_completed([pool.submit(self._part, *bounds) for bounds in self._bounds()]):
                part = task.result()
                lengths[part.first : part.last] = part.lengths
                faults += part.faults
                if too_many(len(faults), rows, max_bad_share):
                    _list(self.folder, faults)
                    check_left_out(self.folder, len(faults), rows, max_bad_share)
                done += part.last - part.first
                if progress is not None:
                    progress(done, rows)
        finally:
            pool.shutdown(cancel_futures=True)
        self._finish(lengths, faults)

    def changed(self) -> list[int]:
        """The rows that were left out and might be read now: their files are there again, or not what they were."""
        known = {fault.row: fault for fault in left_out(self.folder)}
        missing = np.flatnonzero(self._lengths() == 0).tolist()
        return [row for row in missing if row not in known or _stamp(self.files.path(row)) != known[row].stamp]

    def mend(self, workers: int) -> None:
        """Decode what `changed` finds, and bring index and list up to date."""
        again, lengths = self.changed(), self._lengths()
        stay = set(np.flatnonzero(lengths == 0).tolist()) - set(again)
        faults = [fault for fault in left_out(self.folder) if fault.row in stay]
        with ThreadPoolExecutor(workers) as pool:
            for row, found in zip(again, pool.map(self._decode, again), strict=True):
                if isinstance(found, Unreadable):
                    faults.append(found)
                else:
                    lengths[row] = found
        sync(self.folder / AUDIO)
        read = sum(lengths[row] > 0 for row in again)
        log.info(f"pcm cache: tried {counted(len(again), 'file')} again that had been left out; {read} can be read now")
        self._finish(lengths, faults)

    def _lengths(self) -> np.ndarray:
        """`(rows,)` samples of each row of a cache that is made; 0 if it was left out."""
        lengths = np.zeros(len(self.starts) - 1, np.int64)
        rows, _, samples = np.load(self.folder / INDEX)
        lengths[rows] = samples
        return lengths

    def _check_space(self, rows: int, bytes_in_all: int, audio: int) -> None:
        # What an interrupted call has written is not needed again.
        missing = bytes_in_all - 512 * os.fstat(audio).st_blocks
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise InputError(
                f"loader.cache=pcm needs {size(missing)} in {self.folder}, where {size(free)} are free; "
                "make room, set cache_dir to a folder on a larger disk, or loader.cache=null"
            )
        log.info(
            f"pcm cache: decoding {counted(rows, 'utterance')} to {size(bytes_in_all)} in {self.folder} "
            f"({size(free)} free); once, and an interrupted run goes on"
        )

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """Rows of each part: about PART_SAMPLES, at least one row."""
        first, rows = 0, len(self.starts) - 1
        while first < rows:
            last = int(np.searchsorted(self.starts, self.starts[first] + PART_SAMPLES, side="right")) - 1
            last = min(max(last, first + 1), rows)
            yield first, last
            first = last

    def _part(self, first: int, last: int) -> _Part:
        """Decode a part, or what could not be read of it the last time."""
        record = self.folder / PARTS / f"{first}.json"
        known = json.loads(record.read_text()) if record.is_file() else [0] * (last - first)
        part = _Part(first, last, known, [])
        missing = [first + offset for offset, length in enumerate(known) if length == 0]
        for row in missing:
            found = self._decode(row)
            if isinstance(found, Unreadable):
                part.faults.append(found)
            else:
                known[row - first] = found
        if missing:
            sync(self.folder / AUDIO)  # before it is on record
            with replacing(record) as draft:
                draft.write_text(json.dumps(known))
        return part

    def _decode(self, row: int) -> int | Unreadable:
        """Put a row in its place; how many samples it has."""
        path = self.files.path(row)
        stamp = _stamp(path)
        try:
            samples = to_pcm16(self.files.read(row, 0, int(self.files.samples[row])))
        except AudioError as error:
            return Unreadable(path, error.reason, row, stamp)
        samples = samples[: self.starts[row + 1] - self.starts[row]]
        with open(self.folder / AUDIO, "r+b") as audio:
            audio.seek(2 * int(self.starts[row]))
            audio.write(samples)
        return len(samples)

    def _finish(self, lengths: np.ndarray, faults: list[Unreadable]) -> None:
        _list(self.folder, faults)
        rows = np.flatnonzero(lengths)
        with replacing(self.folder / INDEX) as draft, open(draft, "wb") as file:
            np.save(file, np.stack([rows, self.starts[rows], lengths[rows]]))
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)


def left_out(folder: Path) -> list[Unreadable]:
    """What a cache's list says; nothing of a row that it does not say enough of."""
    try:
        with open(folder / LEFT_OUT, newline="", encoding="utf-8") as file:
            return [Unreadable(*cells, int(row), stamp) for *cells, row, stamp in list(csv.reader(file))[1:]]
    except (OSError, ValueError, TypeError):  # it is gone, damaged, or of an earlier version
        return []


def check_left_out(folder: Path, bad: int, rows: int, max_bad_share: float) -> None:
    """InputError if more rows of a manifest are left out than may be."""
    if too_many(bad, rows, max_bad_share):
        known = [f"such as {fault.path}: {fault.reason}" for fault in left_out(folder)[:1]]
        examples = known[0] if known else "they were left out when it was made"
        setting, listed = "loader.max_bad_share", folder / LEFT_OUT
        raise refusal("pcm cache", bad, rows, "utterance", setting, max_bad_share, examples, listed)


def _list(folder: Path, faults: list[Unreadable]) -> None:
    write_rows(folder / LEFT_OUT, [Unreadable._fields, *sorted(faults, key=lambda fault: fault.row)])


def _stamp(path: str) -> str:
    """What differs once a file is another; "" while it can't be read at all, whatever it is."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}" if os.access(path, os.R_OK) else ""
