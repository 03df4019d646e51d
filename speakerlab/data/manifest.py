"""The manifest: one row an utterance, in a `pyarrow.Table`.

Parquet is the file to exchange. An uncompressed Arrow copy lies beside it and is memory-mapped, so that all workers
share one copy and a million utterances open at once.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from speakerlab import InputError

MANIFEST = "manifest.parquet"  # its name in a prepared corpus's folder
STATE = ".prepare"  # in such a folder: what is done
MANIFEST_SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),  # unique
        ("speaker", pa.string()),
        ("session", pa.string()),  # recording occasion; "" if unknown
        ("root", pa.dictionary(pa.int32(), pa.string())),  # absolute folder of the corpus
        ("path", pa.string()),  # relative to root, with forward slashes
        ("first_sample", pa.int64()),  # first_sample and samples count at the file's own rate
        ("samples", pa.int64()),
        ("sample_rate", pa.int32()),  # hertz
        ("split", pa.string()),
        ("gender", pa.string()),  # "" if unknown
    ]
)


def write_manifest(table: pa.Table, path: Path) -> None:
    """Write `path` (Parquet) and its Arrow copy (`.arrow`), each beside its target and then renamed.

    Raises:
        InputError: if the table is no manifest (see `as_manifest`).
    """
    path = Path(path)
    table = as_manifest(table, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The copy must never be newer than a Parquet file with other rows: Parquet first.
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
    with replacing(arrow_copy(path)) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table)


def read_manifest(path: Path) -> pa.Table:
    """Memory-map the Arrow copy if it is there, whole and not older than the Parquet file, else read that.

    Raises:
        InputError: if there is no such file, it is no Parquet, or no manifest.
    """
    path, copy = Path(path), arrow_copy(Path(path))
    if not path.is_file():
        raise InputError(f"{path}: no such manifest; give the path of a manifest.parquet")
    if copy.is_file() and copy.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        try:
            table = pa.ipc.open_file(pa.memory_map(str(copy))).read_all()
        except (pa.ArrowInvalid, OSError):
            table = None  # cut off: Parquet has the same rows
        if table is not None and _missing(table) == []:
            return table
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        advice = "give a manifest that `speakerlab prepare` or `resplit` wrote"
        raise InputError(f"{path}: is no Parquet file, or damaged; {advice}") from error
    return as_manifest(table, str(path))


def manifest_at(path: str | Path, key: str = "") -> Path:
    """The manifest that somebody means by a path: a file, or the manifest.parquet of a folder. `~` is expanded.

    Args:
        path: as given.
        key: of the setting that gave it, for messages.

    Raises:
        InputError: if there is none.
    """
    given, path = f"{key}={path}" if key else str(path), Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{given}: no such manifest or folder; check the path")
    if not path.is_dir():
        return path
    if (path / MANIFEST).is_file():
        return path / MANIFEST
    if (path / STATE).is_dir():
        raise InputError(f"{given}: is not prepared to its end; run the same `speakerlab prepare` again")
    raise InputError(f"{given}: holds no {MANIFEST}; make it with `speakerlab prepare`")


def as_manifest(table: pa.Table, source: str) -> pa.Table:
    """The table with the columns and types of `MANIFEST_SCHEMA`, then its other columns; one chunk a column.

    Raises:
        InputError: naming `source` and the column that is missing, of a wrong type, has empty cells, repeated
            utterances or impossible numbers.
    """
    missing = _missing(table)
    if missing:
        raise InputError(f"{source}: the manifest lacks column {', '.join(missing)}; it has {table.column_names}")
    columns = {field.name: _typed(table[field.name], field, source) for field in MANIFEST_SCHEMA}
    _check_rows(columns, source)
    for name in table.column_names:
        columns.setdefault(name, table[name])
    return pa.table(columns).unify_dictionaries().combine_chunks()


def concat_manifests(tables: list[pa.Table]) -> pa.Table:
    """One manifest of several; columns that only some have are null in the others.

    Raises:
        InputError: if an utterance id occurs twice.
    """
    return as_manifest(pa.concat_tables(tables, promote_options="default"), "joined manifests")


def speakers_of(table: pa.Table) -> list[str]:
    """The speakers' names, sorted; a speaker's class is the position in this list."""
    return sorted(pc.unique(table["speaker"]).to_pylist())


def speaker_classes(table: pa.Table, speakers: list[str]) -> np.ndarray:
    """Each row's position in `speakers`: `(rows,)` int64.

    Raises:
        InputError: if the table has a speaker that is not among `speakers`.
    """
    classes = pc.index_in(table["speaker"], value_set=pa.array(speakers, pa.string()))
    if classes.null_count:
        row = pc.index(pc.is_null(classes), True).as_py()
        raise InputError(f"speaker {table['speaker'][row].as_py()!r} is not among the {len(speakers)} known speakers")
    return classes.to_numpy().astype(np.int64)


def file_of(table: pa.Table, row: int) -> Path:
    """The audio file of a row."""
    return Path(table["root"][row].as_py(), table["path"][row].as_py())


def files_of(table: pa.Table, rows: np.ndarray) -> list[Path]:
    """The audio files of some rows; quick for many."""
    chosen = table.select(["root", "path"]).take(pa.array(rows))
    return [Path(root, path) for root, path in zip(chosen["root"].to_pylist(), chosen["path"].to_pylist(), strict=True)]


def without_files(table: pa.Table | None, paths: Iterable[str]) -> pa.Table | None:
    """The rows whose audio, `root/path`, is none of these; no table stays none."""
    if table is None:
        return None
    files = pc.binary_join_element_wise(table["root"].cast(pa.string()), table["path"], "/")
    return table.filter(pc.invert(pc.is_in(files, value_set=pa.array(paths, pa.string()))))


def seconds_of(table: pa.Table) -> np.ndarray:
    """Duration of each row in seconds: `(rows,)` float64."""
    return table["samples"].to_numpy() / table["sample_rate"].to_numpy()


def arrow_copy(path: Path) -> Path:
    """Where the memory-mapped copy of a Parquet manifest lies."""
    return path.with_suffix(".arrow")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to it if all went well, removed otherwise.

    What was written is on the disk before the rename, and the rename before this ends: neither a kill nor a power cut
    leaves half a file.

    Raises:
        OSError: if it can't be written; names `path`, neither the temporary file nor (as Arrow does) none at all.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary), temporary):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_rows(path: Path, rows: Iterable[Iterable]) -> None:
    """Write a CSV table, header first, beside its place and then rename it."""
    with replacing(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def append_rows(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    """Add rows to a CSV table, which is made with its header if need be; they are in the file when this returns.

    Raises:
        InputError: if the file begins with another header.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        header = file.readline()
        if header and header.rstrip("\r\n") != ",".join(columns):
            raise InputError(f"{path}: its first line is not {','.join(columns)}; move this file away")
        writer = csv.DictWriter(file, columns, restval="")
        if not header:
            writer.writeheader()
        writer.writerows(rows)


def _missing(table: pa.Table) -> list[str]:
    return [name for name in MANIFEST_SCHEMA.names if name not in table.column_names]


def _typed(column: pa.ChunkedArray, field: pa.Field, source: str) -> pa.ChunkedArray:
    if column.null_count:
        raise InputError(f"{source}: column {field.name} has {column.null_count} empty cells; fill them")
    try:
        if pa.types.is_dictionary(field.type):
            return column.cast(field.type.value_type).dictionary_encode()
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{source}: column {field.name} is {column.type}, but must be {field.type}") from error


def _check_rows(columns: dict[str, pa.ChunkedArray], source: str) -> None:
    counts = columns["utterance"].value_counts()
    repeated = pc.greater(counts.field("counts"), 1)
    if pc.any(repeated).as_py():
        name = counts.field("values").filter(repeated)[0].as_py()
        raise InputError(f"{source}: utterance {name!r} occurs more than once; ids must be unique")
    for name, least in (("first_sample", 0), ("samples", 1), ("sample_rate", 1)):
        low = pc.min(columns[name]).as_py()
        if low is not None and low < least:
            raise InputError(f"{source}: column {name} holds {low}, but must be at least {least}")
