"""What the headers of a folder's audio files say, read in parallel and remembered."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from speakerlab.data import Progress
from speakerlab.data.manifest import replacing
from speakerlab.data.scan import FILES_SCHEMA, FILES_VERSION, default_workers, probe_changed, remembered_files
from speakerlab.data.tree import checked_folder, list_audio


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
