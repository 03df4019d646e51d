"""What the headers of a folder's audio files say, read in parallel and remembered."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from speakerlab.data import Progress
from speakerlab.data.audio import CANNOT_OPEN, AudioError, AudioInfo, probe
from speakerlab.data.manifest import replacing
from speakerlab.data.tree import LISTING_SCHEMA, checked_folder, list_audio

FILES_VERSION = 1  # part of the cache's name: raise it when the meaning of the stored columns changes
BATCH = 64  # files a task: few enough for progress, many enough that handing them out costs nothing
FILES_SCHEMA = pa.schema(
    [
        *LISTING_SCHEMA,
        ("sample_rate", pa.int64()),
        ("samples", pa.int64()),
        ("channels", pa.int64()),
        ("problem", pa.string()),  # why the header can't be read; "" if it can
    ]
)


def read_headers(root: str | Path, cache_dir: str | Path, progress: Progress | None = None) -> pa.Table:
    """`FILES_SCHEMA` of the audio files below a folder; only those that are new or changed since the last call are
    read.

    Args:
        root: the folder; hidden files and folders in it are skipped.
        cache_dir: gets `headers/<name>-<hash>/files.parquet`.
        progress: called with (files probed, files to probe).

    Raises:
        InputError: if there is no such folder.
    """
    root = checked_folder(root)
    key = hashlib.sha256(f"{root}|{FILES_VERSION}".encode("utf-8", "replace")).hexdigest()[:12]
    folder = Path(cache_dir).expanduser() / "headers" / f"{root.name or 'root'}-{key}"
    listing, remembered = list_audio(root), remembered_files(folder)
    if remembered is not None and listing.equals(remembered.select(listing.column_names)):
        return remembered
    if not listing.num_rows:
        return FILES_SCHEMA.empty_table()
    files = probe_changed(root, listing, remembered, default_workers(), progress)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "files.parquet") as draft:
        pq.write_table(files, draft)
    return files


def remembered_files(folder: Path) -> pa.Table | None:
    """The last scan's table of files; None if there is none or it is damaged."""
    try:
        files = pq.read_table(folder / "files.parquet", schema=FILES_SCHEMA)
    except (OSError, pa.ArrowInvalid):
        return None
    # Rights and links can be mended without a trace in size and time: such files are always tried again.
    return files.filter(pc.invert(pc.starts_with(files["problem"], CANNOT_OPEN)))


def default_workers() -> int:
    return min(32, 4 * (os.cpu_count() or 1))  # headers wait for the disk more than for the processor


def probe_changed(
    root: Path, listing: pa.Table, remembered: pa.Table | None, workers: int, progress: Progress | None
) -> pa.Table:
    """The listing with what the headers say; rows that stand in `remembered` alike are taken from there."""
    rows = (tuple(row.values()) for row in remembered.to_pylist()) if remembered is not None else ()
    known = {row[:3]: row for row in rows}
    wanted = [tuple(row.values()) for row in listing.to_pylist()]
    changed = [row for row in wanted if row not in known]
    batches = [changed[i : i + BATCH] for i in range(0, len(changed), BATCH)]
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for facts in pool.map(lambda batch: [_facts(root, row) for row in batch], batches):
            known.update((row[:3], row) for row in facts)
            done += len(facts)
            if progress is not None:
                progress(done, len(changed))
    return pa.table(list(zip(*(known[row] for row in wanted), strict=True)), schema=FILES_SCHEMA)


def _facts(root: Path, row: tuple[str, int, int]) -> tuple:
    """A row of FILES_SCHEMA for a listed file."""
    path = root / row[0]
    try:
        return (*row, *(probe(path) if row[1] else AudioInfo(0, 0, 0)), "")
    except AudioError as error:
        return (*row, 0, 0, 0, error.reason)
