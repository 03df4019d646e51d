"""Tables as pandas and others write them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.parquet import read
from speakerlab.data.embedding_files.parquet import write as write_parquet

LISTS = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def write(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", row_group_size=2)
    return tmp_path / "x.parquet"


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)])
def test_lists_of_any_kind(tmp_path, kind):
    found = read(write(tmp_path, embedding=pa.array(LISTS, kind), utterance=["a", "b", "c"], speaker=["s", "s", "t"]))
    np.testing.assert_array_equal(found.rows, LISTS)
    assert found.names == ["a", "b", "c"] and found.speakers == ["s", "s", "t"]


def test_bad_tables_are_refused(tmp_path):
    for columns, message in [
        ({"utterance": ["a"], "vector": [[1.0]]}, "has no column embedding; it has utterance, vector"),
        ({"name": ["a"]}, "has no column utterance and embedding"),
        ({"utterance": ["a"], "embedding": [1.0]}, "column embedding is double, but must be a list of numbers"),
        ({"utterance": ["a", "b"], "embedding": [[1.0], None]}, "column embedding has empty cells"),
        ({"utterance": ["a", "b"], "embedding": [[1.0, 2.0], [1.0, None]]}, "column embedding has empty cells"),
        ({"utterance": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]}, "have from 1 to 2 numbers; all need the same"),
        ({"utterance": ["a", None], "embedding": [[1.0], [1.0]]}, "not every utterance has a name"),
        ({"utterance": ["a"], "embedding": [["1"]]}, "not real numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            read(write(tmp_path, **columns))


def test_a_bit_that_flipped_is_found(tmp_path):
    """Where the numbers lie: nothing else of the file would tell."""
    path = tmp_path / "x.parquet"
    rows = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    write_parquet(path, checked([f"u{i}" for i in range(50)], rows, "test"))
    np.testing.assert_array_equal(read(path).rows, rows)
    written = bytearray(path.read_bytes())
    written[written.index(rows[20].tobytes()) + 2] ^= 1
    path.write_bytes(written)
    assert pq.read_table(path).num_rows == 50  # without the checksums, another number
    with pytest.raises(InputError, match="x.parquet: not a readable Parquet file; write it anew"):
        read(path)
