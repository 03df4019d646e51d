"""Columns that data workers map instead of copying."""

import os
import tempfile
import weakref
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc


class SharedTable:
    """A table that, sent to another process, becomes the name of a file there, which all of them map.

    A forked worker shares its parent's memory anyway; one that is started anew would get a copy of ten million rows.
    The file is written when the table is first sent, and removed when its writer lets go of the table or ends.

    Args:
        table: the columns that workers need.
    """

    def __init__(self, table: pa.Table):
        self.table = table
        self.path: str | None = None

    def __getstate__(self) -> str:
        if self.path is None:
            handle, self.path = tempfile.mkstemp(prefix="speakerlab-", suffix=".arrow")
            os.close(handle)
            weakref.finalize(self, _remove, self.path, os.getpid())
            with pa.ipc.new_file(self.path, self.table.schema) as writer:
                writer.write_table(self.table.unify_dictionaries().combine_chunks())
            pa.default_memory_pool().release_unused()  # of the pieces put together
        return self.path

    def __setstate__(self, path: str) -> None:
        self.table = pa.ipc.open_file(pa.memory_map(path)).read_all()
        self.path = path


def _remove(path: str, writer: int) -> None:
    if os.getpid() == writer:  # a forked worker has a copy of the object, but not the file
        Path(path).unlink(missing_ok=True)
