"""Many files to embeddings: decoded by worker processes, embedded in batches of similar length."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data import MOST_WORKERS, Progress, usable_cpus
from speakerlab.data.audio import AudioError
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.pool import Crash, work
from speakerlab.inference import decoder
from speakerlab.inference.engines import Engine
from speakerlab.inference.hearing import Heard, check_header
from speakerlab.inference.pieces import PIECE_SECONDS, checked_rows, embed_heard

MOST_BATCH = 4096


@dataclass(frozen=True)
class EmbeddedFiles:
    """Files and their embeddings.

    Attributes:
        names: of the files that were embedded, as they were given and in that order.
        rows: `(names, embed_dim)` float32.
        faults: name -> why a file could not be embedded.
        notes: name -> what a listener should know about a file that was.
        seconds: `(names,)` their durations.
    """

    names: list[str]
    rows: np.ndarray
    faults: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    seconds: np.ndarray


@dataclass
class _Found:
    """What has come of the files so far, by their places."""

    rows: dict[int, np.ndarray] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    notes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


def embed_files(
    engine: Engine,
    paths: Sequence[str | os.PathLike],
    batch_size: int = 16,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> EmbeddedFiles:
    """Embed files; one that can't be used is reported and costs nothing but itself.

    Args:
        engine: runs the model.
        paths: of the files.
        batch_size: files that are embedded at once, as long as they last no more than two minutes together.
        num_workers: processes that read; 0 reads in this one.
        progress: called with the number of files that are done, and of all.

    Raises:
        InputError: if a number is out of range or `paths` is one path.
    """
    if isinstance(paths, str | os.PathLike):
        raise InputError(f"{paths}: give a list of files, such as [{str(paths)!r}]")
    most = MOST_WORKERS * usable_cpus()
    if not 0 <= num_workers <= most:
        raise InputError(f"num_workers={num_workers} must lie in 0 to {most}")
    if not 1 <= batch_size <= MOST_BATCH:
        raise InputError(f"batch_size={batch_size} must lie in 1 to {MOST_BATCH}")
    names, found = [os.fspath(path) for path in paths], _Found()
    batches = _batches(names, found, batch_size)
    tell = progress or (lambda done, total: None)
    tell(len(found.faults), len(names))
    for places, recordings in _heard_batches(names, batches, engine.card.sample_rate, num_workers):
        _embed(engine, places, recordings, found)
        tell(len(found.rows) + len(found.faults), len(names))
    order = sorted(found.rows)
    rows = np.zeros((len(order), engine.card.embed_dim), np.float32)
    for row, place in zip(rows, order, strict=True):
        row[:] = found.rows[place]
    return EmbeddedFiles(
        [names[place] for place in order],
        rows,
        {names[place]: found.faults[place] for place in sorted(found.faults)},
        {names[place]: found.notes[place] for place in order if found.notes[place]},
        np.array([found.seconds[place] for place in order]),
    )


def _batches(names: list[str], found: _Found, batch_size: int) -> list[list[int]]:
    """Places of the files in each batch, by what their headers say; files whose header is at fault are left out."""

    def seconds(name: str) -> float | str:
        try:
            info = check_header(Path(name).expanduser())
        except AudioError as error:
            return error.reason
        return info.samples / info.sample_rate

    with ThreadPoolExecutor() as pool:
        lengths = list(pool.map(seconds, names))
    found.faults |= {place: length for place, length in enumerate(lengths) if isinstance(length, str)}
    usable = [place for place in range(len(names)) if place not in found.faults]
    batches = LengthBatches(np.array([lengths[place] for place in usable], float), most=batch_size)
    return [[usable[index] for index in batch] for batch in batches]


Recordings = list[Heard | str]  # or what is wrong with it


def _heard_batches(
    names: list[str], batches: list[list[int]], sample_rate: int, num_workers: int
) -> Iterator[tuple[list[int], Recordings]]:
    """The places and the recordings of each batch, when the last of these is read."""
    if not num_workers:
        for places in batches:
            replies = (decoder.answer([names[place], sample_rate]) for place in places)
            yield places, [decoder.heard_of(_joined(reply)) for reply in replies]
        return
    batch_of = {place: number for number, places in enumerate(batches) for place in places}
    waiting: dict[int, dict[int, Heard | str]] = {}
    tasks = ([names[place], sample_rate, place] for place in chain.from_iterable(batches))
    for (_, _, place), reply in work(tasks, num_workers, decoder.__name__, ahead=num_workers):
        number = batch_of[place]
        batch = waiting.setdefault(number, {})
        batch[place] = reply.how if isinstance(reply, Crash) else decoder.heard_of(reply)
        if len(batch) == len(batches[number]):
            yield batches[number], [batch[place] for place in batches[number]]
            del waiting[number]


def _joined(reply: list | tuple[list, bytes]) -> list:
    """A worker's answer as the pool hands it on."""
    return [*reply[0], reply[1]] if isinstance(reply, tuple) else reply


def _embed(engine: Engine, places: list[int], recordings: Recordings, found: _Found) -> None:
    """Add what comes of a batch."""
    there = {place: one for place, one in zip(places, recordings, strict=True) if isinstance(one, Heard)}
    found.faults |= {place: one for place, one in zip(places, recordings, strict=True) if isinstance(one, str)}
    found.seconds |= {place: heard.seconds for place, heard in there.items()}
    found.notes |= {place: heard.notes for place, heard in there.items()}
    if len(there) > 1 and all(heard.seconds <= PIECE_SECONDS for heard in there.values()):
        try:
            rows = checked_rows(engine([heard.waveform for heard in there.values()]))
        except InputError:  # of one of them: one by one they tell which
            pass
        else:
            found.rows |= dict(zip(there, rows, strict=True))
            return
    for place, heard in there.items():
        try:
            found.rows[place], note = embed_heard(engine, heard)
            found.notes[place] += note
        except InputError as error:
            found.faults[place] = str(error)
