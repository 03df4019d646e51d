"""A manifest's audio decoded once: 16-bit mono at the training rate in one flat file, which is memory-mapped.

<cache_dir>/pcm/<corpus>-<hash>/
  audio.pcm      int16, little-endian, one utterance after the other
  index.npy      (3, utterances) int64: row of the manifest, first sample, samples; written last
  left_out.csv   what can't be read, and why
  parts/         while it is made: what is known of each part that is done
  lock           held by the process that makes it
"""

import csv
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.audio import AudioError, play
from speakerlab.data.manifest import replacing
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.wav import from_pcm16, to_pcm16

CACHE_VERSION = 1  # part of the folder's name: raise it when the meaning of what it holds, or PART_SAMPLES, changes
AUDIO, INDEX, LEFT_OUT, PARTS = "audio.pcm", "index.npy", "left_out.csv", "parts"
PART_SAMPLES = 2**24  # 32 MB, a second's work or two: what a kill loses
HASHED_ROWS = 2**16
log = logging.getLogger("speakerlab")


class PcmRecordings:
    """What `cache_pcm` made, as `recordings.Recordings`. Its rows are counted anew where some were left out.

    All processes share one copy of the audio: a worker, forked or spawned, adds nothing but the mapping.

    Args:
        folder: of the cache.
        sample_rate: of the audio in it, in hertz.

    Attributes:
        rows: `(utterances,)` row of the manifest that each is.
        left_out: the list of those that can't be read.
    """

    def __init__(self, folder: Path, sample_rate: int):
        self.folder = folder
        self.sample_rate = sample_rate
        self.left_out = folder / LEFT_OUT
        # Plain views: slicing a np.memmap costs microseconds.
        self.rows, self.starts, self.samples = np.asarray(np.load(folder / INDEX, mmap_mode="r"))
        self.sample_rates = np.broadcast_to(np.int64(sample_rate), self.samples.shape)
        self.audio = np.asarray(np.memmap(folder / AUDIO, "<i2", mode="r"))  # (samples,)
        if len(self.audio) < self.starts[-1] + self.samples[-1]:
            raise InputError(f"{folder / AUDIO} has been cut off; remove {folder}, and it is made anew")

    def read(self, row: int, first: int, count: int, speed: float = 1.0) -> np.ndarray:
        """See `Recordings.read`; ValueError where the row does not have these samples."""
        if not 0 <= first < first + count <= self.samples[row]:
            raise ValueError(f"row {row} has {self.samples[row]} samples; {first} to {first + count} were asked for")
        start = int(self.starts[row]) + first
        return play(from_pcm16(self.audio[start : start + count]), self.sample_rate, self.sample_rate, speed)

    def __reduce__(self) -> tuple:
        return PcmRecordings, (self.folder, self.sample_rate)


def cache_pcm(
    table: pa.Table,
    sample_rate: int,
    cache_dir: Path,
    max_bad_share: float,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PcmRecordings:
    """The cache of a manifest's audio; the first call decodes it, which takes long.

    A call that is killed leaves what it has done to the next. Of several processes one decodes and the others wait.

    Args:
        table: manifest. The cache is known by what it says of the audio: a file that is replaced by another of the same
            length is not noticed.
        sample_rate: of the cache, in hertz.
        cache_dir: gets `pcm/<corpus>-<hash>/`.
        max_bad_share: largest share of utterances that may be unreadable, and so left out.
        workers: threads that decode; None is one a processor.
        progress: called with (utterances done, utterances).

    Raises:
        InputError: if the disk is too small, or more utterances than allowed can't be read (they are listed first).
    """
    folder = Path(cache_dir) / "pcm" / _folder_name(table, sample_rate)
    if not _is_made(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                if not _is_made(folder):
                    _Making(table, sample_rate, folder, max_bad_share).run(workers or os.cpu_count() or 1, progress)
        except OSError as error:
            raise InputError(
                f"pcm cache: can't write to {folder} ({error.strerror}); make room or set cache_dir"
            ) from error
    return PcmRecordings(folder, sample_rate)


def _is_made(folder: Path) -> bool:
    return (folder / INDEX).is_file() and (folder / AUDIO).is_file()


def _folder_name(table: pa.Table, sample_rate: int) -> str:
    """The corpus's name and a hash of what decides about the audio, however the table lies in memory."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {sample_rate}".encode())
    columns = table.select(["root", "path", "first_sample", "samples", "sample_rate"])
    columns = columns.set_column(0, "root", columns["root"].cast(pa.string()))
    for start in range(0, table.num_rows, HASHED_ROWS):
        for batch in columns.slice(start, HASHED_ROWS).combine_chunks().to_batches():
            digest.update(batch.serialize())
    name = Path(table["root"][0].as_py()).name if table.num_rows else ""
    return f"{name or 'root'}-{digest.hexdigest()[:12]}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is at work in the folder. A process that dies gives way by itself."""
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(f"pcm cache: another process is making {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: two processes would write the same bytes to the same places
        yield


@dataclass
class _Part:
    """Consecutive rows `first <= row < last`: how many samples each has, 0 if it can't be read, and why."""

    first: int
    last: int
    lengths: list[int]
    faults: dict[int, str]


class _Making:
    """Every row has its place in the file from the start, so that parts can be decoded in any order, twice too."""

    def __init__(self, table: pa.Table, sample_rate: int, folder: Path, max_bad_share: float):
        self.files = AudioFiles(table, sample_rate)
        self.folder = folder
        self.max_bad_share = max_bad_share
        # A resampler rounds; a row of another rate may leave a sample of its place unused.
        lengths = -(-self.files.samples * sample_rate // self.files.sample_rates)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])  # (rows + 1,)
        self.faults: dict[int, str] = {}

    def run(self, workers: int, progress: Progress | None) -> None:
        rows, size = len(self.starts) - 1, 2 * int(self.starts[-1])
        (self.folder / INDEX).unlink(missing_ok=True)
        if not (self.folder / AUDIO).exists():  # the records, if any, are of one that somebody removed
            shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        (self.folder / PARTS).mkdir(exist_ok=True)
        with open(self.folder / AUDIO, "ab") as audio:
            self._check_space(rows, size, audio.fileno())
            audio.truncate(size)
        lengths, done = np.zeros(rows, np.int64), 0
        self.audio = os.open(self.folder / AUDIO, os.O_WRONLY)
        pool = ThreadPoolExecutor(workers)
        try:
            for task in as_completed([pool.submit(self._part, *bounds) for bounds in self._bounds()]):
                part = task.result()
                lengths[part.first : part.last] = part.lengths
                self.faults |= part.faults
                self._check_share(rows)
                done += part.last - part.first
                if progress is not None:
                    progress(done, rows)
        finally:
            pool.shutdown(cancel_futures=True)
            os.close(self.audio)
        self._finish(lengths)

    def _check_space(self, rows: int, size: int, audio: int) -> None:
        missing = size - 512 * os.fstat(audio).st_blocks  # what an interrupted call has written is not needed again
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise InputError(
                f"loader.cache=pcm needs {_gigabytes(missing)} in {self.folder}, where {_gigabytes(free)} are free; "
                "make room, set cache_dir to a folder on a larger disk, or loader.cache=null"
            )
        log.info(
            f"pcm cache: decoding {rows:,} utterances to {_gigabytes(size)} in {self.folder} "
            f"({_gigabytes(free)} free); once, and an interrupted run goes on"
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
        part = _Part(first, last, known, {})
        missing = [first + offset for offset, length in enumerate(known) if length == 0]
        for row in missing:
            try:
                samples = to_pcm16(self.files.read(row, 0, int(self.files.samples[row])))
            except AudioError as error:
                part.faults[row] = str(error)
                continue
            samples = samples[: self.starts[row + 1] - self.starts[row]]
            _write(self.audio, samples, 2 * int(self.starts[row]))
            known[row - first] = len(samples)
        if missing:
            os.fsync(self.audio)  # before it is on record
            with replacing(record) as draft:
                draft.write_text(json.dumps(known))
        return part

    def _check_share(self, rows: int) -> None:
        bad = len(self.faults)
        if bad <= self.max_bad_share * rows and bad < rows:
            return
        self._list_faults()
        raise InputError(
            f"pcm cache: {bad} of {rows:,} utterances can't be read, more than "
            f"loader.max_bad_share={self.max_bad_share:g} allows (such as {next(iter(self.faults.values()))}); "
            f"all found so far are listed in {self.folder / LEFT_OUT}"
        )

    def _list_faults(self) -> None:
        with replacing(self.folder / LEFT_OUT) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "reason"))
            for row, message in sorted(self.faults.items()):
                path = self.files.path(row)
                writer.writerow((path, message.removeprefix(f"{path}: ")))

    def _finish(self, lengths: np.ndarray) -> None:
        self._list_faults()
        rows = np.flatnonzero(lengths)
        with replacing(self.folder / INDEX) as draft, open(draft, "wb") as file:
            np.save(file, np.stack([rows, self.starts[rows], lengths[rows]]))
        shutil.rmtree(self.folder / PARTS)


def _write(file: int, samples: np.ndarray, position: int) -> None:
    """All of `samples` to a place in bytes; one call may write less."""
    content = memoryview(samples).cast("B")
    while content:
        written = os.pwrite(file, content, position)
        content, position = content[written:], position + written


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
