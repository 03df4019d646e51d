"""What shards hold, against the manifest that they were packed from and the files themselves."""

import gzip
import json

import pytest
import soundfile
from shard_files import RATE, make_manifest, packing, write_noise, write_tar, write_wespeaker

from speakerlab import InputError
from speakerlab.data.shards.contents import entries, for_each, shard_table
from speakerlab.data.shards.foreign import scan_shards
from speakerlab.data.shards.index import read_index
from speakerlab.data.shards.packing import pack
from speakerlab.data.summary import summarize

KEPT = ("utterance", "speaker", "session", "samples", "sample_rate", "split", "gender", "language")


@pytest.fixture
def table(tmp_path):
    return make_manifest(tmp_path / "voices", speakers=4, utterances=5)


@pytest.mark.parametrize("workers", [1, 2])
def test_packed_rows_are_those_of_the_manifest(table, tmp_path, workers):
    pack(table, tmp_path / "to", packing())
    done = []
    found, left_out = shard_table(read_index(str(tmp_path / "to")), workers, lambda *counts: done.append(counts))
    key = [("utterance", "ascending")]
    assert found.sort_by(key).select(KEPT).to_pydict() == table.sort_by(key).select(KEPT).to_pydict()
    assert not left_out and (done[-1] == (3, 3) if workers == 2 else not done)
    assert found["path"][0].as_py() == "shard-000000.tar/000000000.flac"
    mine, packed = summarize(table), summarize(found)
    assert packed.seconds.sum() == pytest.approx(mine.seconds.sum()) and packed.files == mine.files == 20
    assert packed.utterances_of.tolist() == [5] * 4 and packed.groups["format"]["flac"].utterances == 20


def test_wespeakers_lengths_are_in_their_audio(table, tmp_path, server):
    write_wespeaker(tmp_path / "tars", table, items=7)
    (server.folder / "x").mkdir()
    paths = write_wespeaker(server.folder / "x", table, items=7)
    (server.folder / "x" / "shard.list").write_text("".join(f"{path.name}\n" for path in paths))
    for root in (str(tmp_path / "tars"), f"{server.url}/x/shard.list"):
        found, left_out = shard_table(scan_shards(root, tmp_path / "cache", 1), 1)
        assert not left_out
        for column in ("speaker", "samples", "sample_rate"):
            assert found[column].to_pylist() == table[column].to_pylist()
        assert [name.removesuffix(".wav") for name in found["utterance"].to_pylist()] == [
            name.removesuffix(".wav") for name in table["utterance"].to_pylist()
        ]


def test_a_compressed_shard_is_read_in_passing(table, tmp_path):
    (path, *_) = write_wespeaker(tmp_path / "tars", table, items=20)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    with open(table["root"][0].as_py() + "/s0/0.wav", "rb") as file:
        expected = file.read()
    for address in (path, tmp_path / "x.tar.gz"):
        found = [(entry.key, entry.about["speaker"], entry.audio()) for entry in entries(str(address), with_audio=True)]
        assert len(found) == 20 and found[0] == ("s0/0.wav", "s0", expected)


def test_audio_is_passed_over_where_the_label_tells(tmp_path):
    """Nothing but zeros is in it, but nobody looks."""
    about = {"speaker": "amy", "utterance": "u1", "samples": 800, "sample_rate": 8000, "age": 7, "accent": "Irish"}
    write_tar(tmp_path / "x.tar", [("1.flac", bytes(100)), ("1.json", json.dumps(about).encode())])
    found, left_out = shard_table(scan_shards(str(tmp_path), tmp_path / "cache", 1), 1)
    (row,) = found.to_pylist()
    assert not left_out and row["samples"] == 800 and row["accent"] == "Irish" and "age" not in row
    assert row["session"] == row["gender"] == row["split"] == ""


def test_what_cannot_be_read_is_left_out_and_told(tmp_path):
    write_noise(tmp_path / "a.wav", 0)
    members = [
        ("a.spk", b"amy"),
        ("a.wav", (tmp_path / "a.wav").read_bytes()),
        ("b.spk", b"bob"),
        ("b.wav", b"no audio"),
    ]
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "x.tar", members)
    found, ((path, reason, detail),) = shard_table(scan_shards(str(tmp_path / "tars"), tmp_path / "cache", 1), 1)
    assert found["samples"].to_pylist() == [soundfile.info(tmp_path / "a.wav").frames]
    assert found["sample_rate"].to_pylist() == [RATE]
    assert (path, reason) == ("x.tar/b.wav", "broken") and detail and str(tmp_path) not in detail


def test_a_damaged_shard_stops_the_look(tmp_path, table):
    pack(table, tmp_path / "to", packing())
    shard = tmp_path / "to" / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(InputError, match="shard-000001.tar: is no tar file, or damaged"):
        shard_table(read_index(str(tmp_path / "to")), 2)


def test_results_are_in_the_order_of_the_shards():
    assert for_each(len, ["aaa", "b", "cc"], 2) == for_each(len, ["aaa", "b", "cc"], 1) == [3, 1, 2]
