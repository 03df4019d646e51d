"""WeSpeaker's shards, and any others without an index."""

import json
import shutil
from pathlib import Path

import pytest
from shard_files import write_tar, write_wespeaker

from speakerlab import InputError
from speakerlab.data.shards import foreign, transport
from speakerlab.data.shards.foreign import count_speakers, list_shards, scan_shards
from speakerlab.data.shards.index import read_index


@pytest.fixture
def shards(table, tmp_path) -> list[Path]:
    return write_wespeaker(tmp_path / "wespeaker", table, items=9)


def test_a_folder_and_a_list_name_shards(shards, tmp_path, monkeypatch):
    folder = shards[0].parent
    names = [str(path) for path in shards]
    assert list_shards(str(folder)) == names
    (tmp_path / "shard.list").write_text("".join(f"{name}\n" for name in names) + "\n")
    assert list_shards(str(tmp_path / "shard.list")) == names
    (folder / "near.list").write_text("".join(f"{path.name}\n" for path in shards))
    assert list_shards(str(folder / "near.list")) == names
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/working.list").write_text("".join(f"wespeaker/{path.name}\n" for path in shards))
    assert list_shards(str(tmp_path / "lists/working.list")) == names


@pytest.mark.parametrize("text, expected", [("", "names no shard"), ("a.tar\na.tar\n", "a.tar more than once")])
def test_bad_lists(tmp_path, text, expected):
    (tmp_path / "shard.list").write_text(text)
    with pytest.raises(InputError, match=expected):
        list_shards(str(tmp_path / "shard.list"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds neither shards.json nor tar files"):
        list_shards(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="nowhere"):
        list_shards(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("workers", [1, 2])
def test_counts(shards, table, tmp_path, workers):
    seen = []
    root = str(shards[0].parent)
    index = scan_shards(root, tmp_path / "cache", workers, lambda *counts: seen.append(counts))
    assert [shard.items for shard in index.shards] == [9, 9, 9, 9, 4]
    assert index.speakers == {f"s{i}": 5 for i in range(8)} and index.addresses == [str(path) for path in shards]
    assert seen[-1:] == ([(5, 5)] if workers > 1 else seen[-1:])


def test_a_scan_is_remembered_until_a_shard_changes(shards, tmp_path, monkeypatch):
    root, cache = str(shards[0].parent), tmp_path / "cache"
    first = scan_shards(root, cache, 1)
    counted = []
    monkeypatch.setattr(foreign, "count_speakers", lambda address: counted.append(address) or count_speakers(address))
    again = scan_shards(root, cache, 1)
    assert not counted
    assert (again.shards, again.speakers, again.root) == (first.shards, first.speakers, first.root)
    write_tar(shards[-1], [("k.spk", b"new"), ("k.wav", b"RIFF")])
    assert scan_shards(root, cache, 1).speakers["new"] == 1 and len(counted) == 5
    shards[0].unlink()
    assert "s0" not in scan_shards(root, cache, 1).speakers, "taken from the list of the folder"
    for path in (cache / "shards").glob("*/shards.json"):
        path.write_text("{")
    assert scan_shards(root, cache, 1).speakers["new"] == 1, "a damaged memory is not trusted"


def test_our_own_shards_without_their_index(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    (copy / "shards.json").unlink()
    index = scan_shards(str(copy), tmp_path / "cache", 1)
    known = read_index(str(packed))
    assert index.speakers == known.speakers and [s.items for s in index.shards] == [s.items for s in known.shards]


def test_members_in_any_order_and_remarks(tmp_path):
    label = json.dumps({"speaker": "ö"}).encode()
    members = [
        ("__notes__/x.txt", b"?"),
        ("README", b"?"),
        ("a/1.FLAC", b"f"),
        ("a/1.spk", b" amy\n"),
        ("b.json", label),
    ]
    write_tar(tmp_path / "x.tar", [*members, ("b.ogg", b"o"), ("c.d.spk", b"amy"), ("c.d.txt", b""), ("c.d.mp3", b"m")])
    assert count_speakers(str(tmp_path / "x.tar")) == {"amy": 2, "ö": 1}


@pytest.mark.parametrize(
    "members, expected",
    [
        ([("a.spk", b"amy"), ("b.wav", b"x"), ("b.spk", b"bob")], r"utterance a has no audio"),
        ([("a.wav", b"x"), ("b.wav", b"x"), ("b.spk", b"bob")], r"utterance a has no speaker"),
        ([("a.wav", b"x"), ("a.spk", b"")], "label of utterance a .*names no"),
        ([("a.wav", b"x"), ("a.spk", b"\xff")], "label of utterance a"),
        ([("a.wav", b"x"), ("a.json", b"{")], "label of utterance a"),
        ([("a.wav", b"x"), ("a.json", b'{"speaker": 3}')], "label of utterance a"),
        ([("a.wma", b"x"), ("a.spk", b"amy")], "utterance a has no audio"),
    ],
)
def test_what_is_no_utterance_is_named(tmp_path, members, expected):
    write_tar(tmp_path / "x.tar", members)
    with pytest.raises(InputError, match=f"x.tar: .*{expected}"):
        count_speakers(str(tmp_path / "x.tar"))


def test_a_cut_shard_is_damaged_wherever_it_is_cut(shards):
    data = shards[0].read_bytes()
    end = len(data.rstrip(b"\0"))
    for cut in (0, 100, 512, 700, 1024, 5000, 12000, end - 1, (end + 511) // 512 * 512):
        shards[0].write_bytes(data[:cut])
        with pytest.raises(
            InputError, match=r"000000000.tar: (is no tar file, or damaged|utterance .* has no audio)"
        ) as e:
            count_speakers(str(shards[0]))
        assert "\n" not in str(e.value)
    shards[0].write_bytes(b"This is text.\n" * 100)
    with pytest.raises(InputError, match="is no tar file"):
        count_speakers(str(shards[0]))


def test_on_a_server(shards, server, tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "WAITS", (0.0,) * 3)
    for path in shards:
        shutil.copy(path, server.folder)
    lines = [shards[0].name, *(f"{server.url}/{path.name}" for path in shards[1:])]
    (server.folder / "shard.list").write_text("\n".join(lines))
    server.breaks = 2
    index = scan_shards(f"{server.url}/shard.list", tmp_path / "cache", 1)
    assert index.speakers == {f"s{i}": 5 for i in range(8)}
    asked = len(server.requests)
    assert scan_shards(f"{server.url}/shard.list", tmp_path / "cache", 1).speakers == index.speakers
    assert [method for method, *_ in server.requests[asked:]] == ["GET", *["HEAD"] * 5]
    (server.folder / shards[2].name).unlink()
    with pytest.raises(InputError, match=f"{shards[2].name}: this shard is missing"):
        scan_shards(f"{server.url}/shard.list", tmp_path / "cache", 1)
