"""A manifest's audio decoded once: 16-bit mono at the training rate in one flat file, which is memory-mapped.

<cache_dir>/pcm/<corpus>-<hash>/
  audio.pcm      int16, little-endian, one utterance after the other
  index.npy      (3, utterances) int64: row of the manifest, first sample, samples; written last
  left_out.csv   what can't be read and why, and how its file was then
  parts/         while it is made: what is known of each part that is done
  lock           held by the process that makes it
"""

import fcntl
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress, usable_cpus
from speakerlab.data.audio import play
from speakerlab.data.pcm_making import AUDIO, INDEX, LEFT_OUT, Making, check_left_out
from speakerlab.data.wav import from_pcm16

CACHE_VERSION = 1  # part of the folder's name: raise it when the meaning of what it holds, or PART_SAMPLES, changes
HASHED_ROWS = 2**16
log = logging.getLogger("speakerlab")


class PcmRecordings:
    """What `cache_pcm` made, as `recordings.Recordings`. Its rows are counted anew where some were left out.

    All processes share one copy of the audio: a worker, forked or spawned, adds nothing but the mapping.

    Args:
        folder: of the cache.
        sample_rate: of the audio in it, in hertz.
        chosen: which utterances of the cache, in their order; None is all.

    Attributes:
        rows: `(utterances,)` row of the manifest that each is.
        left_out: the list of those that can't be read.
    """

    def __init__(self, folder: Path, sample_rate: int, chosen: np.ndarray | None = None):
        self.folder = folder
        self.chosen = chosen
        self.sample_rate = sample_rate
        self.left_out = folder / LEFT_OUT
        # Plain views: slicing a np.memmap costs microseconds.
        index = np.asarray(np.load(folder / INDEX, mmap_mode="r"))
        self.rows, self.starts, self.samples = index if chosen is None else index[:, chosen]
        self.sample_rates = np.broadcast_to(np.int64(sample_rate), self.samples.shape)
        self.audio = np.asarray(np.memmap(folder / AUDIO, "<i2", mode="r"))  # (samples,)
        if len(self.audio) < self.starts[-1] + self.samples[-1]:
            raise InputError(f"{folder / AUDIO} has been cut off; remove {folder}, and it is made anew")

    def only(self, chosen: np.ndarray) -> "PcmRecordings":
        """Some of its utterances, as rows that are counted anew."""
        return PcmRecordings(self.folder, self.sample_rate, chosen)

    def read(self, row: int, first: int, count: int, speed: float = 1.0) -> np.ndarray:
        """See `Recordings.read`; ValueError where the row does not have these samples."""
        if not 0 <= first < first + count <= self.samples[row]:
            raise ValueError(f"row {row} has {self.samples[row]} samples; {first} to {first + count} were asked for")
        start = int(self.starts[row]) + first
        return play(from_pcm16(self.audio[start : start + count]), self.sample_rate, self.sample_rate, speed)

    def __reduce__(self) -> tuple:
        return PcmRecordings, (self.folder, self.sample_rate, self.chosen)


def cache_pcm(
    table: pa.Table,
    sample_rate: int,
    cache_dir: Path,
    max_bad_share: float,
    mend: bool = True,
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
        mend: try again what was left out before, where its file has changed or is there again. A run that goes on must
            have the utterances that it began with.
        workers: threads that decode; None is one a processor.
        progress: called with (utterances done, utterances).

    Raises:
        InputError: if the disk is too small, or more utterances than allowed can't be read (they are listed first).
    """
    folder = Path(cache_dir) / "pcm" / _folder_name(table, sample_rate)
    threads = workers or usable_cpus()
    if not _is_made(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                if not _is_made(folder):
                    Making(table, sample_rate, folder).run(max_bad_share, threads, progress)
        except OSError as error:
            raise InputError(
                f"pcm cache: can't write to {folder} ({error.strerror}); make room or set cache_dir"
            ) from error
    elif mend and _lacks_rows(folder, table.num_rows):
        _mend(Making(table, sample_rate, folder), folder, threads)
    recordings = PcmRecordings(folder, sample_rate)
    check_left_out(folder, table.num_rows - len(recordings.rows), table.num_rows, max_bad_share)
    return recordings


def _lacks_rows(folder: Path, rows: int) -> bool:
    return np.load(folder / INDEX, mmap_mode="r").shape[1] < rows


def _mend(making: Making, folder: Path, threads: int) -> None:
    if not making.changed():
        return
    try:
        with _alone(folder):
            making.mend(threads)
    except OSError as error:  # somebody else's cache, or a full disk: what is there can be used
        log.warning(f"pcm cache: files that have been mended stay left out, {folder} can't be written to ({error})")


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
