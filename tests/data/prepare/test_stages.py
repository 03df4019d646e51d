"""The whole way on trees in VoxCeleb's layout: right, only what is left, and the same whatever befell it."""

import csv
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hosts import serve
from trees import NATIONS, host_voxceleb, write_m4a

from speakerlab import InputError
from speakerlab.data.audio import read_audio
from speakerlab.data.download import Login
from speakerlab.data.manifest import file_of, read_manifest
from speakerlab.data.prepare.options import Options
from speakerlab.data.prepare.rows import Prepared
from speakerlab.data.prepare.sources import read_sources
from speakerlab.data.prepare.stages import prepare
from speakerlab.shipped import CONF

ROOT = Path(__file__).parents[3]
RESULTS = ("manifest.parquet", "manifest.arrow", "rejected.csv", "speakers.csv")


class Bars:
    """Remembers what the progress bars showed; `when` is called as one of this name opens."""

    def __init__(self, when: dict | None = None):
        self.calls: dict[str, list[tuple[int, int]]] = {}
        self.when = when or {}

    @contextmanager
    def __call__(self, description: str, unit: str):
        self.when.get(description, lambda: None)()
        yield lambda done, total: self.calls.setdefault(description, []).append((done, total))

    def count(self, description: str) -> int:
        return self.calls.get(description, [(0, 0)])[-1][0]


def options(to: Path, tree: Path | None = None, **changes) -> Options:
    base = Options(
        to=to,
        tree=tree,
        audio_format=None,
        workers=2,
        connections=2,
        login=None,
        fetch_lists=False,
        remove_parts=False,
        remove_extracted=False,
    )
    return replace(base, **changes)


def run(to: Path, tree: Path | None = None, kind: int = 1, sources=None, bars=None, share=None, **changes) -> Prepared:
    sources = sources or read_sources(CONF / f"prepare/voxceleb{kind}.yaml")
    if share is not None:
        sources = replace(sources, checks=replace(sources.checks, max_bad_share=share))
    return prepare(sources, options(to, tree, **changes), bars or Bars())


def results(to: Path) -> dict[str, bytes]:
    return {name: (to / name).read_bytes() for name in RESULTS}


def rejected(to: Path) -> dict[str, str]:
    with open(to / "rejected.csv", newline="", encoding="utf-8") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def columns(table, *names: str) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


# --- A tree on disk


def test_a_tree_on_disk(vox1, tmp_path):
    """Every column against the files themselves and the table that they were made with."""
    before = sorted(vox1.rglob("*"))
    run(tmp_path / "to", vox1)
    table = read_manifest(tmp_path / "to/manifest.parquet")
    files = sorted(path.relative_to(vox1).as_posix() for path in vox1.rglob("*.wav"))
    assert table["path"].to_pylist() == files and table.num_rows == 28
    for row, path in enumerate(files):
        split, _, speaker, video, name = path.split("/")
        cells = {column: table[column][row].as_py() for column in table.column_names}
        assert (cells["speaker"], cells["session"], cells["split"]) == (speaker, video, split)
        assert cells["utterance"] == f"{speaker}/{video}/{name[:-4]}"
        info = soundfile.info(vox1 / path)
        assert (cells["samples"], cells["sample_rate"], cells["first_sample"]) == (info.frames, 16000, 0)
        assert file_of(table, row) == vox1 / path
    meta = {row.split("\t")[0]: row.split("\t") for row in (vox1 / "vox1_meta.csv").read_text().splitlines()}
    for speaker, gender, nation in columns(table, "speaker", "gender", "nationality"):
        assert [gender, nation] == meta[speaker][2:4]
    assert set(table["nationality"].to_pylist()) == set(NATIONS)
    assert sorted(vox1.rglob("*")) == before  # nothing is written into the tree
    assert (tmp_path / "to/meta/vox1_meta.csv").read_bytes() == (vox1 / "vox1_meta.csv").read_bytes()
    assert not (tmp_path / "to/extracted").exists() and not (tmp_path / "to/flac").exists()


def test_speakers(vox1, tmp_path):
    run(tmp_path / "to", vox1)
    table = read_manifest(tmp_path / "to/manifest.parquet")
    with open(tmp_path / "to/speakers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["speaker"] for row in rows] == sorted(set(table["speaker"].to_pylist()))
    seconds = dict.fromkeys((row["speaker"] for row in rows), 0.0)
    for speaker, samples in columns(table, "speaker", "samples"):
        seconds[speaker] += samples / 16000
    assert all(float(row["hours"]) == pytest.approx(seconds[row["speaker"]] / 3600, abs=1e-4) for row in rows)
    assert all(row["utterances"] == "4" and row["gender"] in "fm" for row in rows)


def test_m4a_stays_and_converts(vox2, tmp_path):
    run(tmp_path / "as_is", vox2, kind=2)
    table = read_manifest(tmp_path / "as_is/manifest.parquet")
    assert {Path(path).suffix for path in table["path"].to_pylist()} == {".m4a"}
    run(tmp_path / "flac", vox2, kind=2, audio_format="flac")
    converted = read_manifest(tmp_path / "flac/manifest.parquet")
    same = ("utterance", "speaker", "session", "split", "gender", "samples", "sample_rate")
    assert columns(converted, *same) == columns(table, *same)
    for row in range(0, table.num_rows, 5):
        flac = file_of(converted, row)
        assert flac.is_relative_to(tmp_path / "flac/flac") and soundfile.info(flac).format == "FLAC"
        np.testing.assert_allclose(read_audio(flac), read_audio(file_of(table, row)), atol=1 / 65536)


def test_a_rerun_does_nothing(vox2, tmp_path):
    run(tmp_path / "to", vox2, kind=2, audio_format="flac")
    before, kept = results(tmp_path / "to"), {path: path.stat() for path in (tmp_path / "to/flac").rglob("*")}
    bars = Bars()
    run(tmp_path / "to", vox2, kind=2, audio_format="flac", bars=bars)
    assert bars.count("convert to flac") == bars.count("decode and check") == 0
    assert results(tmp_path / "to") == before
    assert {path: path.stat().st_mtime_ns for path in kept} == {path: stat.st_mtime_ns for path, stat in kept.items()}


def test_only_what_changed_is_done_again(vox2, tmp_path):
    tree, to = tmp_path / "tree", tmp_path / "to"
    shutil.copytree(vox2, tree)
    run(to, tree, kind=2, audio_format="flac")
    files = sorted(tree.rglob("*.m4a"))
    write_m4a(files[2], np.full(20000, 0.1) * np.random.default_rng(1).standard_normal(20000))
    (to / "flac" / files[5].relative_to(tree).with_suffix(".flac")).unlink()  # a conversion that was lost
    files[9].unlink()
    bars = Bars()
    run(to, tree, kind=2, audio_format="flac", bars=bars)
    assert (bars.count("convert to flac"), bars.count("decode and check")) == (2, 2)
    table = read_manifest(to / "manifest.parquet")
    lengths = dict(columns(table, "path", "samples"))
    assert lengths[files[2].relative_to(tree).with_suffix(".flac").as_posix()] == 20000
    assert table.num_rows == 28  # the conversion of an original that is gone stays


def test_wav_as_wav_stays_where_it_is(vox1, tmp_path):
    """Nothing is converted that need not be; the rest is, and both are in one manifest."""
    tree = tmp_path / "tree"
    shutil.copytree(vox1, tree)
    odd = sorted(tree.rglob("*.wav"))[0]
    samples, _ = soundfile.read(odd)
    soundfile.write(odd, samples, 44100)
    run(tmp_path / "to", tree, audio_format="wav")
    table = read_manifest(tmp_path / "to/manifest.parquet")
    roots = columns(table, "root", "path")
    assert roots[0] == (str(tmp_path / "to/wav"), odd.relative_to(tree).as_posix())
    assert {root for root, _ in roots[1:]} == {str(tree)}
    assert len(list((tmp_path / "to/wav").rglob("*.wav"))) == 1
    assert table["sample_rate"].to_pylist() == [16000] * 28


# --- Bad files

BAD = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zero-byte": lambda path: os.truncate(path, 0),
    "wrong extension": lambda path: path.write_bytes(_flac()),
    "NaN": lambda path: soundfile.write(path, np.full(16000, np.nan), 16000, subtype="FLOAT"),
    "silent": lambda path: soundfile.write(path, np.zeros(16000), 16000),
    "low sample rate": lambda path: soundfile.write(path, _noise(8000), 8000),
    "stereo": lambda path: soundfile.write(path, np.stack([_noise(44100)] * 2, axis=1), 44100),
    "too short": lambda path: soundfile.write(path, _noise(4000), 16000),
    "no audio": lambda path: path.write_text("<html>404</html>"),
    "unreadable": lambda path: (path.unlink(), path.symlink_to("nowhere.wav")),
    "outside the layout": lambda path: path.rename(path.parents[4] / "stray.wav"),
    "duplicate": lambda path: shutil.copyfile(path, path.with_suffix(".flac")) and _as_flac(path),
}


def _noise(count: int) -> np.ndarray:
    return 0.2 * np.random.default_rng(3).uniform(-1, 1, count)


def _flac() -> bytes:
    import io

    buffer = io.BytesIO()
    soundfile.write(buffer, _noise(16000), 16000, format="FLAC")
    return buffer.getvalue()


def _as_flac(path: Path) -> None:
    samples, rate = soundfile.read(path)
    soundfile.write(path.with_suffix(".flac"), samples, rate)


@pytest.mark.parametrize("audio_format", [None, "flac"])
def test_each_kind_of_bad_file_is_rejected(vox1, tmp_path, audio_format):
    tree, to = tmp_path / "tree", tmp_path / "to"
    shutil.copytree(vox1, tree)
    files = sorted(tree.rglob("*.wav"))
    planted = dict(zip(BAD, files[::2], strict=False))
    expected = {}
    for reason, path in planted.items():
        BAD[reason](path)
        name = {"outside the layout": "stray.wav"}.get(reason, path.relative_to(tree).as_posix())
        expected[name] = reason  # of the two, the .flac comes first and is used
    run(to, tree, audio_format=audio_format, share=0.5)
    assert rejected(to) == expected
    table = read_manifest(to / "manifest.parquet")
    bad = [path for reason, path in planted.items() if reason != "duplicate"]
    good = {path.relative_to(tree).with_suffix("").as_posix() for path in files if path not in bad}
    assert {os.path.splitext(path)[0] for path in table["path"].to_pylist()} == good
    first = results(to)
    bars = Bars()
    run(to, tree, audio_format=audio_format, share=0.5, bars=bars)
    assert results(to) == first
    # What a link or a right may mend is looked at again; the rest is remembered.
    assert bars.count("convert to flac" if audio_format == "flac" else "decode and check") <= 1


def test_files_that_vanish_in_the_middle(vox1, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(vox1, tree)
    files = sorted(tree.rglob("*.wav"))
    bars = Bars({"decode and check": lambda: [path.unlink() for path in files[3:5]]})
    run(tmp_path / "to", tree, share=0.1, bars=bars)
    assert rejected(tmp_path / "to") == {path.relative_to(tree).as_posix(): "unreadable" for path in files[3:5]}
    shutil.copytree(vox1, tree, dirs_exist_ok=True)  # they come back
    run(tmp_path / "to", tree)
    assert rejected(tmp_path / "to") == {}


@pytest.mark.parametrize("moment", ["convert to flac", "decode and check"])
def test_originals_that_vanish_while_others_are_converted(vox2, tmp_path, moment):
    tree = tmp_path / "tree"
    shutil.copytree(vox2, tree)
    gone = sorted(tree.rglob("*.m4a"))[4]
    run(tmp_path / "to", tree, kind=2, audio_format="flac", share=0.1, bars=Bars({moment: gone.unlink}))
    path = gone.relative_to(tree).as_posix()
    assert rejected(tmp_path / "to") == ({path: "unreadable"} if moment == "convert to flac" else {})


def test_too_many_bad_files_stop_with_one_line(vox1, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(vox1, tree)
    for path in sorted(tree.rglob("*.wav"))[:4]:
        os.truncate(path, 0)
    os.truncate(sorted(tree.rglob("*.wav"))[10], 200)
    with pytest.raises(InputError) as caught:
        run(tmp_path / "to", tree, share=0.1)
    message = str(caught.value)
    assert "\n" not in message
    assert "voxceleb1: 5 of 28 audio files (17.9 %) can't be used, more than --max-bad-share=0.1 allows" in message
    assert "most often zero-byte (4, such as dev/wav/" in message and "to/rejected.csv" in message
    assert len(rejected(tmp_path / "to")) == 5 and not (tmp_path / "to/manifest.parquet").exists()
    assert run(tmp_path / "to", tree, share=0.18).manifest.num_rows == 23


def test_stereo_may_be_mixed(vox1, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(vox1, tree)
    path = sorted(tree.rglob("*.wav"))[0]
    soundfile.write(path, np.stack([_noise(44100), np.zeros(44100)], axis=1), 44100)
    sources = read_sources(CONF / "prepare/voxceleb1.yaml")
    sources = replace(sources, checks=replace(sources.checks, stereo="mix"))
    run(tmp_path / "to", tree, sources=sources, audio_format="flac")
    assert rejected(tmp_path / "to") == {}
    flac = tmp_path / "to/flac" / path.relative_to(tree).with_suffix(".flac")
    assert soundfile.info(flac).frames == 16000 and soundfile.info(flac).channels == 1


# --- Downloads


@pytest.mark.parametrize("kind", [1, 2])
def test_a_download_is_the_tree(vox1, vox2, tmp_path, kind):
    tree, to = (vox1, vox2)[kind - 1], tmp_path / "to"
    hosted = host_voxceleb(tree, tmp_path / "host", kind)
    with serve(hosted.folder, cut_after=[5000, 20000], login="me:secret") as host:
        sources = read_sources(hosted.write(tmp_path / "a.yaml", host.url))
        login = Login("me", "secret", host.url)
        run(to, sources=sources, audio_format="flac", login=login)
        run(tmp_path / "from", tree, kind=kind, audio_format="flac")
        tables = [read_manifest(folder / "manifest.parquet") for folder in (to, tmp_path / "from")]
        assert tables[0].drop(["root"]).equals(tables[1].drop(["root"]))
        asked, before = len(host.asked), results(to)
        bars = Bars()
        run(to, sources=sources, audio_format="flac", login=login, bars=bars)
        assert len(host.asked) == asked and results(to) == before
        assert not bars.count("convert to flac") and not [name for name in bars.calls if name.startswith("unpack")]
    assert {path.name for path in (to / "extracted").iterdir()} == {"dev", "test"}


def test_what_is_removed_is_not_missed(vox2, tmp_path):
    """Neither archives nor originals, unless their conversion is no good."""
    tree, to = tmp_path / "tree", tmp_path / "to"
    shutil.copytree(vox2, tree)
    bad = sorted(tree.rglob("*.m4a"))[3]
    bad.write_bytes(b"")
    hosted = host_voxceleb(tree, tmp_path / "host", 2)
    with serve(hosted.folder) as host:
        sources = read_sources(hosted.write(tmp_path / "a.yaml", host.url))
        run(to, sources=sources, audio_format="flac", share=0.1)
        before = results(to)
        options = {"audio_format": "flac", "remove_parts": True, "remove_extracted": True}
        run(to, sources=sources, share=0.1, **options)
        assert list((to / "downloads").iterdir()) == []
        left = [path.relative_to(to / "extracted") for path in (to / "extracted").rglob("*") if path.is_file()]
        assert left == [bad.relative_to(tree)]
        asked = len(host.asked)
        for again in (options, {}):
            run(to, sources=sources, share=0.1, **again)
            assert len(host.asked) == asked and results(to) == before


def test_a_damaged_part_stops_before_it_is_unpacked(vox1, tmp_path):
    hosted = host_voxceleb(vox1, tmp_path / "host", 1)
    part = hosted.folder / "vox1_dev_wav_partab"
    part.write_bytes(part.read_bytes()[::-1])
    with serve(hosted.folder) as host:
        sources = read_sources(hosted.write(tmp_path / "a.yaml", host.url))
        with pytest.raises(InputError, match=r"not downloaded: vox1_dev_wav_partab \(its MD5 is wrong\)"):
            run(tmp_path / "to", sources=sources)
    assert not (tmp_path / "to/extracted").exists()


# --- Refusals


def test_a_second_run_waits_outside(vox1, tmp_path):
    messages = []

    def intrude() -> None:
        with pytest.raises(InputError) as caught:
            run(tmp_path / "to", vox1)
        messages.append(str(caught.value))

    run(tmp_path / "to", vox1, bars=Bars({"decode and check": intrude}))
    assert len(messages) == 1 and "another prepare is at work" in messages[0]


@pytest.mark.parametrize("to", ["tree", "tree/inside", "."])
def test_folders_in_one_another(tmp_path, to):
    (tmp_path / "tree").mkdir()
    with pytest.raises(InputError, match="lie in one another"):
        run(tmp_path / to, tmp_path / "tree")


def test_no_audio(tmp_path):
    (tmp_path / "tree").mkdir()
    with pytest.raises(InputError, match=re.escape("tree: holds no audio (.flac, .wav,")):
        run(tmp_path / "to", tmp_path / "tree")
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        run(tmp_path / "to", tmp_path / "nowhere")


# --- Kills

KILLER = """\
import os, signal, sys
NAME, COUNT = os.environ["KILL_AT"].split(":")
seen = 0
def watch(event, arguments):
    global seen
    if event == "os.rename" and os.path.basename(arguments[1]) == NAME:
        seen += 1
        if seen == int(COUNT):
            os.killpg(0, signal.SIGKILL)
sys.addaudithook(watch)
"""
MOMENTS = (
    "vox2_dev_aac_partab:1",  # a download is whole
    "00001.m4a:5",  # unpacking
    "00002.flac:2",  # converting, in a worker
    "manifest.parquet:1",
    "manifest.arrow:1",
)


@pytest.mark.slow
def test_killed_at_every_stage_it_ends_alike(vox2, tmp_path):
    hosted, to = host_voxceleb(vox2, tmp_path / "host", 2), tmp_path / "to"
    (tmp_path / "killer").mkdir()
    (tmp_path / "killer/sitecustomize.py").write_text(KILLER)
    with serve(hosted.folder) as host:
        sources = hosted.write(tmp_path / "a.yaml", host.url)
        command = [sys.executable, "-m", "speakerlab.cli.main", "prepare", "voxceleb2", "--to", str(to)]
        command += ["--format", "flac", "--sources", str(sources), "--workers", "2", "--connections", "1"]

        def start(moment: str) -> int:
            environment = {**os.environ, "PYTHONPATH": str(tmp_path / "killer"), "KILL_AT": moment}
            return subprocess.run(
                command, cwd=ROOT, env=environment, start_new_session=True, capture_output=True
            ).returncode

        assert start("never:1") == 0
        undisturbed = results(to)
        shutil.rmtree(to)
        assert [start(moment) for moment in MOMENTS] == [-9] * len(MOMENTS)
        assert start("never:1") == 0
        sizes = sum(path.stat().st_size for path in hosted.folder.iterdir())
        assert host.sent <= 2.5 * sizes  # both runs, and one download that a kill cut
    assert results(to) == undisturbed
    assert read_manifest(to / "manifest.parquet").num_rows == 28
    assert not [path for path in to.rglob(".*") if path.name.endswith(".tmp")]


def test_a_damaged_table_of_speakers_stops_before_anything_is_decoded(vox1, tmp_path):
    os.symlink(vox1, tmp_path / "tree")
    (tmp_path / "to/meta").mkdir(parents=True)
    (tmp_path / "to/meta/vox1_meta.csv").write_text("<html>not found</html>")
    bars = Bars()
    with pytest.raises(InputError, match="vox1_meta.csv: has no column 'VoxCeleb1 ID'"):
        prepare(read_sources(CONF / "prepare/voxceleb1.yaml"), options(tmp_path / "to", tmp_path / "tree"), bars)
    assert not bars.calls
