"""Files from a disk and from a real server on loopback that breaks off."""

import tarfile

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.shards import transport
from speakerlab.data.shards.transport import is_url, joined, open_address, read_address, size_of

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "WAITS", (0.0, 0.0, 0.0))


@pytest.fixture
def file(server):
    (server.folder / "a b.bin").write_bytes(CONTENT)
    return joined(server.url, "a b.bin")


def test_addresses(tmp_path):
    assert joined("http://host/x/", "a b.tar") == "http://host/x/a%20b.tar"
    assert joined("http://host/x", "https://other/y.tar") == "https://other/y.tar"
    assert joined("/data/x", "a b.tar") == "/data/x/a b.tar" and joined("/data/x", "/y.tar") == "/y.tar"
    assert is_url("https://host/x") and not is_url("pipe:rm -r /") and not is_url("/http://x")


def test_a_local_file(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    path = str(tmp_path / "x")
    assert read_address(path) == CONTENT and size_of(path) == len(CONTENT)
    assert size_of(str(tmp_path / "y")) is None
    with pytest.raises(InputError, match="y: can't be opened .No such file"):
        open_address(str(tmp_path / "y"))


def test_no_address_runs_a_command(tmp_path):
    with pytest.raises(InputError, match="can't be opened"):
        open_address(f"pipe:touch {tmp_path / 'made'}")
    assert not list(tmp_path.iterdir())


def test_a_file_on_a_server(server, file):
    assert read_address(file) == CONTENT and size_of(file) == len(CONTENT)
    assert size_of(f"{server.url}/y") is None
    with pytest.raises(InputError, match="/y: can't be read .*404"):
        open_address(f"{server.url}/y")
    assert [method for method, path, _ in server.requests if path == "/y"] == ["HEAD", "GET"], "404 was tried again"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_transfer_goes_on_where_it_stopped(server, file, ranges):
    server.ranges = ranges
    server.breaks, server.break_after = 3, 70_000
    if ranges:
        assert read_address(file) == CONTENT
        assert [given for *_, given in server.requests] == [None, "bytes=70000-", "bytes=140000-", "bytes=210000-"]
    else:  # every try begins anew, so that only the last one gets beyond
        assert read_address(file) == CONTENT
        assert len(server.requests) == 4


def test_it_gives_up_at_one_byte(server, file):
    server.breaks, server.break_after = 100, 0
    with pytest.raises(InputError, match=r"a%20b.bin: can't be read \(the connection ended early\)"):
        read_address(file)
    assert len(server.requests) == 4
    server.breaks, server.break_after, server.ranges = 100, 50_000, False
    with pytest.raises(InputError, match=r"at byte 50,000 of 300,000"):
        read_address(file)


def test_passing_faults_are_waited_for(server, file):
    server.statuses = [503, 429]
    assert read_address(file) == CONTENT
    server.statuses = [403]
    with pytest.raises(InputError, match="403"):
        read_address(file)


def test_a_server_that_is_not_there(server, file):
    server.close()
    for ask in (size_of, open_address):
        with pytest.raises(InputError, match=r"a%20b.bin: .*refused"):
            ask(file)


def test_a_server_without_head(server, file):
    server.statuses = [501]
    assert size_of(file) == -1
    server.statuses = [500]
    with pytest.raises(InputError, match="500"):
        size_of(file)


def test_tarfile_reads_it_as_a_stream(server, packed):
    shard = next(packed.glob("*.tar"))
    (server.folder / "x.tar").write_bytes(shard.read_bytes())
    server.breaks, server.break_after = 2, 10_000
    with open_address(f"{server.url}/x.tar") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}
    with tarfile.open(shard) as tar:
        assert contents == {member.name: tar.extractfile(member).read() for member in tar}
