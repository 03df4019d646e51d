"""Tables in other processes."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa

from speakerlab.data.shared import SharedTable


def table(rows: int) -> pa.Table:
    names = pa.array([f"utterance {i}" for i in range(rows)])
    return pa.table({"name": names, "root": names.slice(0, rows).dictionary_encode(), "number": np.arange(rows)})


def test_a_table_travels_as_a_files_name():
    shared = SharedTable(table(100_000))
    sent = pickle.dumps(shared)
    assert len(sent) < 500 and pickle.dumps(shared) == sent, "a file for each receiver"
    received = pickle.loads(sent)
    assert received.table.equals(shared.table)
    assert pickle.dumps(received) == sent, "a worker sends it on as it came"
    before = pa.total_allocated_bytes()
    again = pickle.loads(sent)
    assert again.table.num_rows == 100_000 and pa.total_allocated_bytes() - before < 10_000


def test_the_file_goes_with_its_writer_alone():
    shared = SharedTable(table(10))
    received = pickle.loads(pickle.dumps(shared))
    path = Path(shared.path)
    del received
    child = multiprocessing.get_context("fork").Process(target=shared.__init__, args=(table(1),))
    child.start()
    child.join()
    assert child.exitcode == 0 and path.is_file()
    del child, shared
    assert not path.is_file()


def test_pieces_and_views_arrive_whole():
    whole = table(1000)
    pieces = pa.concat_tables([whole.slice(10, 5), whole.slice(500, 100)])
    received = pickle.loads(pickle.dumps(shared := SharedTable(pieces))).table
    assert shared.table is pieces and received.to_pylist() == pieces.to_pylist()
    assert all(column.num_chunks == 1 for column in received.columns)
