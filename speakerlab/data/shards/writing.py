"""Tar files out of rows, in a pool of processes."""

import hashlib
import io
import json
import multiprocessing
import os
import signal
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data.audio import AudioError
from speakerlab.data.manifest import replacing
from speakerlab.data.shards.encoding import Encoded, encode
from speakerlab.data.shards.index import Shard

MEMBER_BYTES = 2048  # about what an utterance's two headers, JSON and padding take
OF_THE_FILE = ("root", "first_sample", "samples", "sample_rate")  # columns that are true of the source, not of a shard
REPORT_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class ShardTask:
    """A shard to write: its place, the number of its first utterance among all, and the table's rows in it."""

    path: Path
    first: int
    rows: np.ndarray
    audio_format: str

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class PackedShard:
    """What was written, utterances of each speaker, and the rows left out: utterance, file, reason."""

    shard: Shard
    speakers: dict[str, int]
    unreadable: list[list[str]]

    def as_note(self) -> dict:
        return asdict(self)

    @classmethod
    def from_note(cls, note: dict) -> "PackedShard":
        return cls(Shard(**note["shard"]), note["speakers"], note["unreadable"])


class Stopped(Exception):
    """The command was interrupted while this process was writing."""


def write_shards(
    table: pa.Table, tasks: list[ShardTask], workers: int, progress: Callable[[int], None]
) -> Iterator[PackedShard]:
    """Write each task's shard; gives them as they are done.

    Args:
        table: manifest that the tasks' rows are of; each process is sent the rows of its shard alone.
        tasks: shards.
        workers: processes.
        progress: called with the number of utterances done, about twice a second.

    Raises:
        InputError: if a shard can't be written or a process is killed.
    """
    if not tasks:
        return
    # Started anew and not forked, which threads (Arrow's, for one) do not survive.
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_begin, initargs=(counter, stop)
    )
    waiting, running = deque(tasks), set[Future]()
    try:
        while waiting or running:
            while waiting and len(running) < 2 * workers:  # rows are sent shortly before they are needed
                task = waiting.popleft()
                running.add(pool.submit(write_shard, task, table.take(task.rows)))
            ended, running = wait(running, REPORT_SECONDS, FIRST_COMPLETED)
            progress(counter.value)
            for future in ended:
                yield future.result()
    except BrokenProcessPool as error:
        raise InputError("a packing process was killed (memory?); run again with fewer --workers") from error
    except OSError as error:
        raise InputError(f"{tasks[0].path.parent}: can't be written ({error.strerror})") from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(counter, stop) -> None:
    """In a new process: what it shares with its parent, and without which it ends."""
    global COUNTER, STOP
    COUNTER, STOP = counter, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait_for_end([parent.sentinel]), os._exit(1)), daemon=True).start()


COUNTER = STOP = None  # set in each process of the pool


def write_shard(task: ShardTask, rows: pa.Table) -> PackedShard:
    """Write one shard: an audio file and a JSON file for each row that can be read.

    Args:
        task: where, and which.
        rows: of the manifest, in the task's order.
    """
    speakers: Counter[str] = Counter()
    unreadable = []
    with replacing(task.path) as draft:
        with tarfile.open(draft, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, row in enumerate(rows.to_pylist(), start=task.first):
                path = Path(row["root"], row["path"])
                try:
                    encoded = encode(path, row["first_sample"], row["samples"], row["sample_rate"], task.audio_format)
                except AudioError as error:
                    unreadable.append([row["utterance"], str(path), error.reason])
                else:
                    _add_item(tar, f"{number:09d}", encoded, row)
                    speakers[row["speaker"]] += 1
                _count()
        with open(draft, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = draft.stat().st_size
    return PackedShard(Shard(task.name, speakers.total(), size, digest), dict(speakers), unreadable)


def _add_item(tar: tarfile.TarFile, key: str, encoded: Encoded, row: dict) -> None:
    about = {name: value for name, value in row.items() if name not in OF_THE_FILE and value is not None}
    about |= {name: getattr(encoded, name) for name in ("first_sample", "samples", "sample_rate")}
    text = json.dumps(about, ensure_ascii=False, default=str).encode()
    for suffix, data in ((encoded.suffix, encoded.data), ("json", text)):
        member = tarfile.TarInfo(f"{key}.{suffix}")  # its time and owner stay 0: equal runs give equal bytes
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def _count() -> None:
    if COUNTER is None:
        return
    with COUNTER.get_lock():
        COUNTER.value += 1
    if STOP.is_set():
        raise Stopped
