"""Packs a manifest's rows into shards: shuffled, so that each holds many speakers, and the same bytes on every run.

A shard is written beside its place and renamed, then what is in it is noted in `.packing/`; the index comes last. So
the same command goes on with a run that was killed at any moment, and makes only what is missing.
"""

import hashlib
import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress, check_workers
from speakerlab.data.audio import AudioError
from speakerlab.data.corpus import BATCH_ROWS, speaker_folders
from speakerlab.data.left_out import check_share, refusal, too_many
from speakerlab.data.manifest import file_of, replacing, write_rows
from speakerlab.data.shards.encoding import FORMATS, encode
from speakerlab.data.shards.index import INDEX, Shard, ShardIndex, check_present, read_index, write_index
from speakerlab.data.shards.writing import MEMBER_BYTES, PackedShard, ShardTask, write_shards

NOTES = ".packing"  # what is known of each shard that is done, and of how the folder is made
UNREADABLE = "unreadable.csv"
SAMPLED = 64  # rows that are encoded to learn how many make up a shard of so many bytes
DESCRIBING = ("utterance", "speaker", "path", "first_sample", "samples", "sample_rate")  # columns that tell rows apart


@dataclass(frozen=True)
class Packing:
    """How a manifest is packed.

    Args:
        audio_format: one of `FORMATS`.
        shard_items: utterances a shard; None goes by `shard_bytes`.
        shard_bytes: about how large a shard is to be.
        seed: of the order of utterances.
        max_bad_share: largest share of utterances, 0 to 1, that may be unreadable.
        workers: processes.

    Raises:
        InputError: for a value out of range.
    """

    audio_format: str
    shard_items: int | None
    shard_bytes: int
    seed: int
    max_bad_share: float
    workers: int

    def __post_init__(self) -> None:
        if self.audio_format not in FORMATS:
            raise InputError(f"format {self.audio_format!r} must be one of {', '.join(FORMATS)}")
        for name, least in (("shard_items", 1), ("shard_bytes", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name.replace('_', '-')}={value} must be at least {least}")
        check_share("--max-bad-share", self.max_bad_share)
        check_workers(self.workers)


@dataclass(frozen=True)
class PackResult:
    """The index, how many of its shards this run made, and the rows that could not be read: utterance, file, reason."""

    index: ShardIndex
    made: int
    unreadable: list[list[str]]


def check_apart_from_sources(table: pa.Table, given: Path, folder: Path) -> None:
    """Refuse to write among what is packed: shards and held-out files would be taken for recordings the next time.

    Args:
        table: the rows to pack.
        given: the manifest or folder that they come from.
        folder: where the shards go.

    Raises:
        InputError: if that is a folder of recordings or lies in one, or is the folder given.
    """
    roots = [Path(root) for root in table["root"].unique().to_pylist()]
    real = folder.resolve()
    for source in (*roots, *([given] if given.is_dir() else [])):
        if real == source.expanduser().resolve() or (source in roots and real.is_relative_to(source.resolve())):
            raise InputError(f"--to {folder} lies in {source}, whose recordings are packed: choose a folder elsewhere")


def pack(table: pa.Table, folder: Path, packing: Packing, progress: Progress | None = None) -> PackResult:
    """Pack all rows into `folder/shard-000000.tar` ... and write the index; what is there already stays.

    Args:
        table: manifest.
        folder: made if need be.
        packing: how.
        progress: called with (utterances done, utterances in all).

    Raises:
        InputError: if the table is empty, the folder holds shards of other rows or settings, or more utterances than
            allowed are unreadable (they are listed in `folder/unreadable.csv` first).
    """
    if not table.num_rows:
        raise InputError("the manifest has no rows to pack")
    (folder / NOTES).mkdir(parents=True, exist_ok=True)
    _remove_drafts(folder)
    plan = _plan(table, folder, packing)
    tasks = _tasks(table, folder, packing, plan["items"])
    done = {task.name: note for task in tasks if (note := _note(folder, task)) is not None}
    left = [task for task in tasks if task.name not in done]
    before = table.num_rows - sum(len(task.rows) for task in left)

    def report(count: int) -> None:
        if progress is not None:
            progress(before + count, table.num_rows)

    with closing(write_shards(table, left, packing.workers, report)) as written:
        for packed in written:
            _write_note(folder, packed)
            done[packed.shard.name] = packed
            _check_share(folder, done, table.num_rows, packing.max_bad_share, False)
    shards = [done[task.name] for task in tasks]
    unreadable = _check_share(folder, done, table.num_rows, packing.max_bad_share, True)
    index = _index(table, folder, plan, shards)
    write_index(index, folder)
    _remove_drafts(folder)
    check_present(index)
    return PackResult(index, len(left), unreadable)


def _plan(table: pa.Table, folder: Path, packing: Packing) -> dict[str, Any]:
    """What makes these shards what they are, with the number of utterances a shard; kept in the folder."""
    wanted = {
        "format": packing.audio_format,
        "seed": packing.seed,
        "shard_items": packing.shard_items,
        "shard_bytes": None if packing.shard_items else packing.shard_bytes,
        "rows": table.num_rows,
        "manifest": _digest(table),
    }
    path = folder / NOTES / "plan.json"
    if (folder / INDEX).is_file():
        kept = dict(read_index(str(folder)).made)
    else:
        kept = json.loads(path.read_text()) if path.is_file() else None
    if kept is not None:
        for name, value in wanted.items():
            if kept.get(name) != value:
                raise InputError(
                    f"{folder}: holds shards that were made otherwise ({name} {kept.get(name)}, now {value}); "
                    "give another folder, or remove this one"
                )
        return kept
    plan = wanted | {"items": packing.shard_items or _items_for(table, packing)}
    with replacing(path) as draft:
        draft.write_text(json.dumps(plan, indent=1) + "\n")
    return plan


def _digest(table: pa.Table) -> str:
    """Tells the rows from others; where their files lie does not matter."""
    digest = hashlib.blake2b(digest_size=16)
    columns = table.select(list(DESCRIBING))
    for first in range(0, len(columns), BATCH_ROWS):  # the same pieces however the table is cut into chunks
        for batch in columns.slice(first, BATCH_ROWS).combine_chunks().to_batches():
            digest.update(batch.serialize())
    return digest.hexdigest()


def _items_for(table: pa.Table, packing: Packing) -> int:
    """Utterances that make up a shard of `shard_bytes`, by the size of the first ones."""
    sizes = []
    for row in _order(table, packing.seed)[:SAMPLED].tolist():
        cells = {name: table[name][row].as_py() for name in ("first_sample", "samples", "sample_rate")}
        try:
            encoded = encode(file_of(table, row), *cells.values(), packing.audio_format)
        except AudioError:
            continue
        sizes.append(len(encoded.data) + MEMBER_BYTES)
    return max(1, round(packing.shard_bytes / np.mean(sizes))) if sizes else 1


def _order(table: pa.Table, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(table.num_rows)


def _tasks(table: pa.Table, folder: Path, packing: Packing, items: int) -> list[ShardTask]:
    """The shuffled rows in as few pieces as `items` allows, of equal sizes but for one row."""
    order = _order(table, packing.seed)
    count = -(-len(order) // items)
    bounds = [len(order) * i // count for i in range(count + 1)]
    return [
        ShardTask(folder / f"shard-{i:06d}.tar", first, order[first:end], packing.audio_format)
        for i, (first, end) in enumerate(zip(bounds, bounds[1:]))
    ]


def _note_path(folder: Path, name: str) -> Path:
    return folder / NOTES / f"{name}.json"


def _write_note(folder: Path, packed: PackedShard) -> None:
    with replacing(_note_path(folder, packed.shard.name)) as draft:
        draft.write_text(json.dumps(packed.as_note()) + "\n", encoding="utf-8")


def _note(folder: Path, task: ShardTask) -> PackedShard | None:
    """What is known of a shard that is done; None if it is not there as it was made."""
    try:
        packed = PackedShard.from_note(json.loads(_note_path(folder, task.name).read_text(encoding="utf-8")))
        whole = task.path.stat().st_size == packed.shard.bytes
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return packed if whole else None


def _check_share(
    folder: Path, done: dict[str, PackedShard], rows: int, max_bad_share: float, finished: bool
) -> list[list[str]]:
    """The unreadable rows so far, listed in the folder when all is done or they are too many.

    Raises:
        InputError: if they are too many. Their shards are forgotten, so that the next run tries the files again.
    """
    unreadable = sorted(row for packed in done.values() for row in packed.unreadable)
    is_too_much = too_many(len(unreadable), rows, max_bad_share)
    listed = folder / UNREADABLE
    listed.unlink(missing_ok=True)
    if unreadable and (finished or is_too_much):
        write_rows(listed, [["utterance", "file", "reason"], *unreadable])
    if is_too_much:
        for packed in done.values():
            if packed.unreadable:
                _note_path(folder, packed.shard.name).unlink(missing_ok=True)
        _, path, reason = unreadable[0]
        examples = f"such as {path}: {reason}"
        raise refusal(
            str(folder), len(unreadable), rows, "utterance", "--max-bad-share", max_bad_share, examples, listed
        )
    return unreadable


def _index(table: pa.Table, folder: Path, plan: dict[str, Any], packed: list[PackedShard]) -> ShardIndex:
    speakers = sum((Counter(shard.speakers) for shard in packed), Counter())
    shards: tuple[Shard, ...] = tuple(shard.shard for shard in packed)
    folders = tuple(sorted(speaker_folders(table)))
    return ShardIndex(str(folder), shards, dict(sorted(speakers.items())), folders, plan)


def _remove_drafts(folder: Path) -> None:
    """Remove the half-written shards of processes that are no more."""
    for draft in folder.glob(".shard-*.tmp"):
        pid = draft.name.split(".")[-2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            draft.unlink(missing_ok=True)
        except (ValueError, OSError):
            continue
