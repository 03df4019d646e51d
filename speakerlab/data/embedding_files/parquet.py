"""Parquet: columns `utterance` and `embedding` (a list of numbers), perhaps `speaker` and `split`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.manifest import replacing


def read(path: Path) -> Embeddings:
    """Lists of fixed or variable length; errors as in `checked`, and for what a file with checksums has lost."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file; write it anew") from error
    missing = [name for name in ("utterance", "embedding") if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: has no column {' and '.join(missing)}; it has {', '.join(table.column_names)}")
    column, kind = table["embedding"].combine_chunks(), table["embedding"].type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise InputError(f"{path}: column embedding is {kind}, but must be a list of numbers")
    if column.null_count or column.flatten().null_count:
        raise InputError(f"{path}: column embedding has empty cells; fill them or take the rows out")
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    sizes = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if len(sizes) > 1:
        raise InputError(f"{path}: its embeddings have from {sizes[0]} to {sizes[-1]} numbers; all need the same")
    told = [table[name].to_pylist() if name in table.column_names else None for name in ("speaker", "split")]
    size = int(sizes[0]) if len(sizes) else 0
    return checked(table["utterance"].to_pylist(), numbers.reshape(len(column), size), str(path), *told)


def write(path: Path, embeddings: Embeddings) -> None:
    """Lists of fixed length, in float32; with checksums, since a bit that flips makes another number and no error."""
    numbers = pa.array(embeddings.rows.reshape(-1))
    columns = {
        "utterance": pa.array(embeddings.names, pa.string()),
        "embedding": pa.FixedSizeListArray.from_arrays(numbers, embeddings.rows.shape[1]),
    }
    for name, values in (("speaker", embeddings.speakers), ("split", embeddings.splits)):
        if values is not None:
            columns[name] = pa.array(values, pa.string())
    with replacing(path) as draft:
        pq.write_table(pa.table(columns), draft, write_page_checksum=True)
