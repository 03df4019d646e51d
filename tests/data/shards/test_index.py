"""What the index says, and what it misses."""

import json
import shutil

import pytest

from speakerlab import InputError
from speakerlab.data.shards import transport
from speakerlab.data.shards.index import Shard, ShardIndex, Shards, check_present, read_index, write_index


def test_written_and_read(tmp_path):
    shards = (Shard("a.tar", 2, 100, "ab"), Shard("b.tar", 1, 50))
    index = ShardIndex(str(tmp_path), shards, {"amy": 1, "ö": 2}, ("/data/amy",), {"seed": 1})
    write_index(index, tmp_path)
    again = read_index(str(tmp_path))
    assert (again.shards, again.speakers, again.folders, again.made) == (
        shards,
        {"amy": 1, "ö": 2},
        ("/data/amy",),
        {"seed": 1},
    )
    assert len(again) == 3 and again.addresses == [str(tmp_path / "a.tar"), str(tmp_path / "b.tar")]
    assert Shards(again, 10).items.tolist() == [2, 1] and Shards(again, 10).speakers == ["amy", "ö"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1}', "is damaged"),
        ('{"version": 2}', "version 2"),
    ],
)
def test_a_damaged_index(tmp_path, text, expected):
    (tmp_path / "shards.json").write_text(text)
    with pytest.raises(InputError, match=f"shards.json: is .*{expected.removeprefix('is ')}"):
        read_index(str(tmp_path))


def test_counts_that_differ(packed, tmp_path):
    contents = json.loads((packed / "shards.json").read_text())
    contents["speakers"].popitem()
    (tmp_path / "shards.json").write_text(json.dumps(contents))
    with pytest.raises(InputError, match="counts differ"):
        read_index(str(tmp_path))


def test_no_index(tmp_path):
    with pytest.raises(InputError, match=r"shards.json: can't be opened"):
        read_index(str(tmp_path))


def test_a_missing_or_cut_shard_is_named(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    check_present(read_index(str(copy)))
    (copy / "shard-000004.tar").unlink()
    with pytest.raises(
        InputError, match=r"shard-000004.tar: this shard is missing; copy it there again, or run the same"
    ):
        check_present(read_index(str(copy)))
    data = (copy / "shard-000001.tar").read_bytes()
    (copy / "shard-000001.tar").write_bytes(data[:-512])
    with pytest.raises(InputError, match=r"shard-000001.tar: this shard has [\d,]+ bytes in place of .*1 more of 6"):
        check_present(read_index(str(copy)))


def test_on_a_server(packed, server, monkeypatch):
    monkeypatch.setattr(transport, "WAITS", ())
    shutil.copytree(packed, server.folder / "x")
    index = read_index(f"{server.url}/x")
    assert len(index) == 40 and index.addresses[0] == f"{server.url}/x/shard-000000.tar"
    check_present(index)
    (server.folder / "x/shard-000002.tar").unlink()
    (server.folder / "x/shard-000003.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"x/shard-000002.tar: this shard is missing .and 1 more of 6 shards"):
        check_present(index)
    with pytest.raises(InputError, match="y/shards.json: can't be read .*404"):
        read_index(f"{server.url}/y")
