"""Utterances out of real tars: once each, in an order that repeats, and goes on anywhere."""

import shutil
from pathlib import Path

import pytest
from shard_files import write_tar, write_wespeaker

from speakerlab import InputError
from speakerlab.data.audio import read_audio
from speakerlab.data.shards import stream as stream_module
from speakerlab.data.shards import transport
from speakerlab.data.shards.foreign import scan_shards
from speakerlab.data.shards.index import ShardIndex, Shards, read_index
from speakerlab.data.shards.plan import Layout
from speakerlab.data.shards.stream import read_shard, stream


def shards_of(root, shuffle_buffer=10) -> Shards:
    return Shards(read_index(str(root)), shuffle_buffer)


def numbers(shards, layout, epoch=0, lane=0, done=0, seed=1) -> list[int]:
    return [packed.number for packed in stream(shards, layout, seed, epoch, lane, done)]


@pytest.mark.parametrize("ranks, lanes", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5)])
def test_each_utterance_once_an_epoch(packed, ranks, lanes):
    shards = shards_of(packed)
    layouts = [Layout(6, 1, rank, ranks, lanes) for rank in range(ranks)]
    found = [
        number for layout in layouts for lane in range(lanes) for number in numbers(shards, layout, epoch=3, lane=lane)
    ]
    assert sorted(found) == list(range(40))


def test_an_utterance_is_what_was_packed(table, packed):
    rows = {row["utterance"]: row for row in table.to_pylist()}
    speakers = []
    for packed_ in stream(shards_of(packed), Layout(5, 1, 0, 1, 1), 1, 0, 0, 0):
        speakers.append(packed_.speaker)
        wave = read_audio(packed_.audio, packed_.first_sample, packed_.samples)
        (same,) = [
            row for row in rows.values() if row["samples"] == packed_.samples and row["speaker"] == packed_.speaker
        ]
        assert (wave == read_audio(Path(same["root"], same["path"]))).all()
        assert f"{packed_.number:09d}.flac" in str(packed_.audio)
    assert len(speakers) == 40


def test_order_repeats_and_changes(packed):
    shards, layout = shards_of(packed), Layout(5, 1, 0, 1, 1)
    orders = {tuple(numbers(shards, layout, epoch=epoch, seed=seed)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9
    assert numbers(shards, layout) == numbers(shards, layout)
    order = numbers(shards, layout)
    shard_of = [next(i for i in range(6) if number < sum(shards.items[: i + 1])) for number in order]
    assert shard_of != sorted(shard_of, key=shard_of.index), "shards were not mixed"
    assert numbers(shards_of(packed, 1), layout) != order


def test_passes(packed):
    found = numbers(shards_of(packed), Layout(9, 2, 0, 1, 1))
    assert sorted(found) == sorted([*range(40), *range(40)])


@pytest.mark.parametrize("shuffle_buffer", [1, 5, 1000])
def test_it_goes_on_anywhere_and_reads_no_more_than_it_must(packed, monkeypatch, shuffle_buffer):
    """After any number of batches the rest is as it would have been; no utterance is read again, no shard opened whose
    utterances all are behind."""
    shards = shards_of(packed, shuffle_buffer)
    layout = Layout(8, 1, 0, 1, 2)
    wanted = []

    def watched(address, shard, items):
        wanted.extend((address, item) for item in items)
        return read_shard(address, shard, items)

    monkeypatch.setattr(stream_module, "read_shard", watched)
    for lane in range(2):
        whole = numbers(shards, layout, lane=lane)
        _, sizes = layout.lane(lane, 40)
        for done in range(len(sizes) + 1):
            wanted.clear()
            rest = numbers(shards, layout, lane=lane, done=done)
            assert rest == whole[sizes[:done].sum() :]
            assert len(wanted) == len(rest) == len(set(wanted))


def test_a_server_gives_the_same(packed, server, monkeypatch):
    monkeypatch.setattr(transport, "WAITS", (0.0,) * 3)
    shutil.copytree(packed, server.folder / "x")
    server.breaks, server.break_after = 0, 20_000
    layout = Layout(5, 1, 0, 1, 1)
    local = list(stream(shards_of(packed), layout, 1, 0, 0, 0))
    remote_shards = Shards(read_index(f"{server.url}/x"), 10)
    server.breaks = 3
    remote = list(stream(remote_shards, layout, 1, 0, 0, 0))
    assert [(a.position, a.number, a.speaker, a.audio.data) for a in local] == [
        (b.position, b.number, b.speaker, b.audio.data) for b in remote
    ]
    assert server.breaks == 0


def test_wespeakers_shards(table, tmp_path):
    write_wespeaker(tmp_path / "wespeaker", table, items=9)
    shards = Shards(scan_shards(str(tmp_path / "wespeaker"), tmp_path / "cache", 1), 10)
    rows = table.to_pylist()
    for packed in stream(shards, Layout(5, 1, 0, 1, 1), 1, 0, 0, 0):
        row = rows[packed.number]
        assert (packed.speaker, packed.samples, packed.sample_rate) == (row["speaker"], row["samples"], 16000)
        assert packed.audio.data == Path(row["root"], row["path"]).read_bytes()
        assert str(packed.audio).endswith(f".tar/{row['path']}.wav")


def read_all(root) -> list[int]:
    return numbers(shards_of(root), Layout(5, 1, 0, 1, 1))


def test_a_shard_that_vanishes_is_named(packed, tmp_path, server, monkeypatch):
    monkeypatch.setattr(transport, "WAITS", (0.0,))
    for root, address in ((tmp_path / "copy", str(tmp_path / "copy")), (server.folder / "x", f"{server.url}/x")):
        shutil.copytree(packed, root)
        (root / "shard-000003.tar").unlink()
        with pytest.raises(InputError, match=f"^{address}/shard-000003.tar: can't be (opened|read) .*(No such|404)"):
            read_all(address)


def test_a_cut_shard_is_named(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    data = (copy / "shard-000002.tar").read_bytes()
    end = len(data.rstrip(b"\0"))
    for cut in range(0, end, 5000):
        (copy / "shard-000002.tar").write_bytes(data[:cut])
        with pytest.raises(
            InputError, match=r"^\S+/shard-000002.tar: this shard (is damaged|ends before utt)"
        ) as error:
            read_all(copy)
        assert "\n" not in str(error.value) and "<" not in str(error.value)
    (copy / "shard-000002.tar").write_bytes(data[:512] + b"x" * 512 + data[1024:])
    assert len(read_all(copy)) == 40, "contents are not the tar file's business"
    (copy / "shard-000002.tar").write_bytes(b"x" * len(data))
    with pytest.raises(InputError, match=r"is damaged before utterance 1 of the 7 that the index counts"):
        read_all(copy)


def test_other_contents_than_the_index_says(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    for members, expected in (
        ([("0.flac", b"x"), ("0.json", b'{"speaker": "s0"}')], "ends before utterance 2 of the 6"),
        ([(f"{i}.json", b'{"speaker": "s0"}') for i in range(6)], "0: has no audio"),
        ([(f"{i}.flac", b"x") for i in range(6)], "0: has no speaker"),
        ([(f"{i}.{suffix}", b"{") for i in range(6) for suffix in ("flac", "json")], "0.json: can't be read"),
    ):
        write_tar(copy / "shard-000000.tar", members)
        with pytest.raises(InputError, match=expected):
            read_all(copy)


def test_broken_audio_is_for_the_reader_to_find(tmp_path):
    """A file that can't be measured stands in the stream, so that it is counted and replaced like any other."""
    write_tar(tmp_path / "x.tar", [("a.spk", b"amy"), ("a.wav", b"rubbish"), ("b.spk", b"bob"), ("b.wav", b"")])
    index = scan_shards(str(tmp_path), tmp_path / "cache", 1)
    assert isinstance(index, ShardIndex)
    for packed in stream(Shards(index, 5), Layout(1, 1, 0, 1, 1), 1, 0, 0, 0):
        with pytest.raises(InputError, match=f"x.tar/{'a' if packed.speaker == 'amy' else 'b'}.wav: "):
            read_audio(packed.audio, packed.first_sample, packed.samples)
