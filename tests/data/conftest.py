"""Recordings, shards and a web server that the tests of data share."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from shard_files import Server, make_manifest, packing

from speakerlab.data.shards.packing import pack


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> pa.Table:
    """8 speakers with 5 utterances each."""
    return make_manifest(tmp_path_factory.mktemp("voices"), speakers=8, utterances=5)


@pytest.fixture(scope="session")
def packed(table, tmp_path_factory) -> Path:
    """`table` in shards of 6 and 7 utterances."""
    folder = tmp_path_factory.mktemp("packed")
    pack(table, folder, packing())
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    """Serves `tmp_path/served`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    yield server
    server.close()
