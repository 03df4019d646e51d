"""Real tar files, killed and continued."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shard_files import RATE, make_manifest, packing

from speakerlab import InputError
from speakerlab.data.manifest import write_manifest
from speakerlab.data.shards.index import read_index
from speakerlab.data.shards.packing import pack

ROOT = Path(__file__).resolve().parents[3]


def contents(folder) -> dict[str, bytes]:
    """Every file that a user sees."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def members(shard) -> list[tuple[str, bytes]]:
    with tarfile.open(shard) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def test_every_row_is_in_one_shard_as_it_was(table, packed):
    rows = {row["utterance"]: row for row in table.to_pylist()}
    found = []
    for number, shard in enumerate(sorted(packed.glob("*.tar"))):
        assert shard.name == f"shard-{number:06d}.tar"
        names = members(shard)
        for (audio_name, audio), (label_name, label) in zip(names[::2], names[1::2], strict=True):
            assert audio_name == f"{len(found):09d}.flac" and label_name == f"{len(found):09d}.json"
            about = json.loads(label)
            row = rows[about["utterance"]]
            (packed / "x.flac").write_bytes(audio)
            wave, rate = soundfile.read(packed / "x.flac", dtype="int16")
            (packed / "x.flac").unlink()
            expected, _ = soundfile.read(Path(row["root"], row["path"]), dtype="int16")
            np.testing.assert_array_equal(wave, expected)
            assert rate == RATE and (about["samples"], about["sample_rate"]) == (len(wave), RATE)
            kept = ("speaker", "session", "path", "gender", "language", "split")
            assert all(about[name] == row[name] for name in kept) and "root" not in about
            found.append(about["utterance"])
    assert sorted(found) == sorted(rows) and len(found) == 40


def test_order_is_shuffled_by_the_seed(table, packed, tmp_path):
    speakers = [
        json.loads(data)["speaker"] for shard in sorted(packed.glob("*.tar")) for _, data in members(shard)[1::2]
    ]
    assert all(len(set(speakers[first : first + 6])) >= 3 for first in range(0, 36, 6)), "a shard of one speaker"
    assert speakers != sorted(speakers)
    pack(table, tmp_path / "other", packing(seed=2))
    assert contents(tmp_path / "other")["shard-000000.tar"] != contents(packed)["shard-000000.tar"]


def test_the_index_counts(table, packed):
    index = read_index(str(packed))
    assert [shard.items for shard in index.shards] == [6, 7, 7, 6, 7, 7] and len(index) == 40
    assert index.speakers == {f"s{i}": 5 for i in range(8)}
    for shard in index.shards:
        data = (packed / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    root = os.path.realpath(table["root"][0].as_py())
    assert index.folders == tuple(f"{root}/s{i}" for i in range(8))


@pytest.mark.parametrize("workers", [2, 3])
def test_bytes_do_not_depend_on_workers(table, packed, tmp_path, workers):
    seen = []
    result = pack(table, tmp_path, packing(workers=workers), lambda done, total: seen.append((done, total)))
    assert contents(tmp_path) == contents(packed)
    assert result.made == 6 and result.unreadable == []
    assert seen[-1] == (40, 40) and seen == sorted(seen)


def test_a_rerun_makes_only_what_is_missing(table, packed, tmp_path):
    shutil.copytree(packed, tmp_path / "copy")
    copy = tmp_path / "copy"
    stamps = {path: path.stat().st_mtime_ns for path in copy.glob("*.tar")}
    assert pack(table, copy, packing()).made == 0
    (copy / "shard-000001.tar").unlink()
    (copy / "shard-000003.tar").write_bytes(b"cut off")
    (copy / "shards.json").unlink()
    assert pack(table, copy, packing()).made == 2
    assert contents(copy) == contents(packed)
    touched = {path.name for path in copy.glob("*.tar") if path.stat().st_mtime_ns != stamps[path]}
    assert touched == {"shard-000001.tar", "shard-000003.tar"}


def test_another_manifest_or_setting_is_refused(table, packed, tmp_path):
    before = contents(packed)
    for rows, changes, named in (
        (table, {"seed": 2}, "seed 1, now 2"),
        (table, {"audio_format": "opus"}, "format flac, now opus"),
        (table, {"shard_items": 8}, "shard_items 7, now 8"),
        (table.slice(1), {}, "rows 40, now 39"),
        (table.take(list(range(39, -1, -1))), {}, "manifest"),
    ):
        with pytest.raises(InputError, match=f"holds shards that were made otherwise .{named}"):
            pack(rows, packed, packing(**changes))
    assert contents(packed) == before


def test_a_size_decides_on_items(table, tmp_path):
    """A recording of noise takes about 10 kB and a file's overhead."""
    pack(table, tmp_path, packing(shard_items=None, shard_bytes=60_000))
    index = read_index(str(tmp_path))
    sizes = [shard.bytes for shard in index.shards]
    assert len(index) == 40 and 6 <= len(sizes) <= 10
    assert all(40_000 < size < 80_000 for size in sizes)


def test_unreadable_files_are_counted_listed_and_limited(tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=4, utterances=5)
    (tmp_path / "voices/s1/2.wav").write_bytes(b"rubbish")
    (tmp_path / "voices/s2/0.wav").unlink()
    with pytest.raises(
        InputError, match=r"2 of 20 utterances \(10.0 %\) can't be used, more than --max-bad-share=0.05"
    ):
        pack(table, tmp_path / "to", packing(max_bad_share=0.05))
    with open(tmp_path / "to/unreadable.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["utterance"] for row in rows} <= {"s1/2.wav", "s2/0.wav"} and rows
    result = pack(table, tmp_path / "to", packing(max_bad_share=0.1))
    assert [row[0] for row in result.unreadable] == ["s1/2.wav", "s2/0.wav"]
    assert "No such file" in result.unreadable[1][2]
    assert result.index.speakers == {"s0": 5, "s1": 4, "s2": 4, "s3": 5} and len(result.index) == 18
    found = [name for shard in (tmp_path / "to").glob("*.tar") for name, _ in members(shard)]
    assert len(found) == 36


def test_mended_files_are_tried_again_after_a_stop(tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=4, utterances=5)
    whole = (tmp_path / "voices/s1/2.wav").read_bytes()
    (tmp_path / "voices/s1/2.wav").unlink()
    with pytest.raises(InputError, match="1 of 20"):
        pack(table, tmp_path / "to", packing())
    (tmp_path / "voices/s1/2.wav").write_bytes(whole)
    result = pack(table, tmp_path / "to", packing())
    assert len(result.index) == 20 and result.unreadable == []
    assert not (tmp_path / "to/unreadable.csv").exists()


def test_nothing_readable_and_nothing_at_all_stop(tmp_path, table):
    (tmp_path / "voices").mkdir()
    broken = make_manifest(tmp_path / "voices", speakers=2, utterances=2)
    shutil.rmtree(tmp_path / "voices")
    for items in (3, None):
        with pytest.raises(InputError, match="4 of 4 utterances|[1-4] of 4"):
            pack(broken, tmp_path / f"to{items}", packing(max_bad_share=1.0, shard_items=items))
    with pytest.raises(InputError, match="no rows"):
        pack(table.slice(0, 0), tmp_path / "none", packing())


@pytest.mark.parametrize(
    "changes",
    [
        {"audio_format": "mp3"},
        {"shard_items": 0},
        {"shard_bytes": 0},
        {"max_bad_share": 1.1},
        {"workers": 0},
        {"workers": 10**6},
    ],
)
def test_settings_out_of_range(changes):
    with pytest.raises(InputError, match=next(iter(changes.values())).__str__()):
        packing(**changes)


def test_what_can_not_be_written_is_one_line(table, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/shard-000002.tar").mkdir()
    with pytest.raises(InputError, match="can't be written"):
        pack(table, tmp_path / "to", packing())


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path, packed, table):
    """The command, with its processes, is killed with -9 four times; then it is let run."""
    write_manifest(table, tmp_path / "manifest.parquet")
    command = [sys.executable, "-m", "speakerlab.cli.main", "shard", str(tmp_path / "manifest.parquet")]
    command += ["--to", str(tmp_path / "to"), "--shard-items", "7", "--workers", "2"]
    (tmp_path / "to").mkdir()
    for wanted in range(1, 5):
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "to").glob("*.tar"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)  # its workers notice
        process.wait()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "40 utterances of 8 speakers in 6 shards" in done.stdout
    assert contents(tmp_path / "to") == contents(packed)
    deadline = time.monotonic() + 60
    while list(
        (tmp_path / "to").glob(".*.tmp")
    ):  # of a killed command's worker that lived longer than the last command
        assert time.monotonic() < deadline
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
