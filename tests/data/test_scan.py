"""Scans of small trees: what is kept, what is left out and why, and what a second scan reads again."""

import csv
import os

import numpy as np
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data import headers
from speakerlab.data.manifest import MANIFEST_SCHEMA, read_manifest
from speakerlab.data.scan import scan_folder, scan_folders

SETTINGS = {"min_seconds": 0.5, "stereo": "quarantine", "max_bad_share": 0.05}


def add(path, seconds: float = 1.0, rate: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((round(seconds * rate), channels)), rate)


@pytest.fixture
def root(tmp_path):
    """Three speakers: two sessions, a deep session, none."""
    path = tmp_path / "corpus"
    add(path / "bob" / "mon" / "1.wav", 1.0)
    add(path / "bob" / "tue" / "1.FLAC", 2.0, rate=16000)
    add(path / "amy" / "x" / "y" / "1.ogg", 0.5)
    add(path / "cat" / "1.wav", 1.5)
    (path / "README.txt").write_text("not audio")
    return path


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """Names of the files whose headers were read since the list was last cleared."""
    names = []
    real = headers.probe

    def counting(path):
        names.append("/".join(path.parts[-2:]))
        return real(path)

    monkeypatch.setattr(headers, "probe", counting)
    return names


def test_the_tree_becomes_a_manifest(root, tmp_path):
    result = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert result.manifest.schema == MANIFEST_SCHEMA
    paths = ["amy/x/y/1.ogg", "bob/mon/1.wav", "bob/tue/1.FLAC", "cat/1.wav"]
    assert result.manifest.to_pydict() == {
        "utterance": paths,
        "speaker": ["amy", "bob", "bob", "cat"],
        "session": ["x/y", "mon", "tue", ""],
        "root": [str(root)] * 4,
        "path": paths,
        "first_sample": [0] * 4,
        "samples": [4000, 8000, 32000, 12000],
        "sample_rate": [8000, 8000, 16000, 8000],
        "split": [""] * 4,
        "gender": [""] * 4,
    }
    assert result.quarantined == [] and result.summary() == "corpus: 4 utterances of 3 speakers, 5.0 s"
    (stored,) = (tmp_path / "cache" / "manifests").iterdir()
    assert stored.name.startswith("corpus-")
    assert read_manifest(stored / "manifest.parquet").equals(result.manifest)


def test_hidden_files_and_circles_of_links_are_skipped(root, tmp_path):
    add(root / "bob" / ".trash" / "1.wav")
    add(root / ".cache" / "1.wav")
    add(root / "bob" / "._1.wav")
    (root / "bob" / "again").symlink_to(root)
    (root / "dan").symlink_to(root / "cat")
    result = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert [path for path in result.manifest["path"].to_pylist() if path[0] != "a"] == [
        "bob/mon/1.wav",
        "bob/tue/1.FLAC",
        "cat/1.wav",
        "dan/1.wav",
    ]


def test_a_link_to_itself_is_a_broken_file(root, tmp_path):
    (root / "bob" / "loop.wav").symlink_to(root / "bob" / "loop.wav")
    result = scan_folder(root, tmp_path / "cache", **SETTINGS | {"max_bad_share": 0.5})
    (item,) = result.quarantined
    assert (item.path, item.reason) == ("bob/loop.wav", "broken") and item.detail.startswith("can't be opened")


def make_bad(root) -> None:
    (root / "bob" / "zero.wav").touch()
    add(root / "bob" / "none.wav", 0)
    (root / "bob" / "text.wav").write_text("hello")
    (root / "bob" / "link.wav").symlink_to("nowhere")
    add(root / "cat" / "short.wav", 0.499)
    add(root / "cat" / "both.wav", channels=2)
    add(root / "stray.wav")


def test_unusable_files_are_counted_and_listed(root, tmp_path):
    make_bad(root)
    result = scan_folder(root, tmp_path / "cache", **SETTINGS | {"max_bad_share": 0.7})
    expected = [
        ("bob/link.wav", "broken", "can't be opened (No such file or directory)"),
        ("bob/none.wav", "empty", "0 samples"),
        ("bob/text.wav", "broken", "not readable as audio (Format not recognised)"),
        ("bob/zero.wav", "empty", "0 bytes"),
        ("cat/both.wav", "stereo", "2 channels"),
        ("cat/short.wav", "too short", "0.499 s, under 0.5 s"),
        ("stray.wav", "outside a speaker folder", "lies directly in the root"),
    ]
    assert result.quarantined == expected and result.manifest.num_rows == 4
    (file,) = result.quarantine_files
    with open(file, newline="") as lines:
        assert [tuple(row) for row in csv.reader(lines)] == [("path", "reason", "detail"), *expected]
    assert result.summary() == (
        "corpus: 4 utterances of 3 speakers, 5.0 s; left out 7 of 11 files (2 broken, 2 empty, 1 stereo, 1 too short, "
        f"1 outside a speaker folder), listed in {file}"
    )


def test_stereo_can_be_mixed_and_short_kept(root, tmp_path):
    add(root / "cat" / "short.wav", 0.1)
    add(root / "cat" / "both.wav", channels=2)
    result = scan_folder(root, tmp_path / "cache", min_seconds=0.0, stereo="mix", max_bad_share=0.0)
    assert result.manifest.num_rows == 6 and result.quarantined == []
    # Other settings have a manifest of their own.
    with pytest.raises(InputError, match="2 of 6 audio files"):
        scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert len(list((tmp_path / "cache" / "manifests").iterdir())) == 2


def test_too_many_bad_files_stop_but_are_listed(root, tmp_path, probed):
    make_bad(root)
    add(root / "cat" / "shorter.wav", 0.2)
    add(root / "cat" / "shortest.wav", 0.1)
    for _ in range(2):  # the second time from the stored list
        with pytest.raises(InputError) as caught:
            scan_folder(root, tmp_path / "cache", **SETTINGS)
        (file,) = (tmp_path / "cache" / "manifests").glob("*/quarantine.csv")
        assert str(caught.value) == (
            "corpus: 9 of 13 audio files (69.2 %) can't be used, more than data.max_bad_share=0.05 allows; most often "
            f"too short (3, such as cat/short.wav: 0.499 s, under 0.5 s); all are listed in {file}"
        )
        assert len(file.read_text().splitlines()) == 10
        assert probed if _ == 0 else probed == ["bob/link.wav"]
        probed.clear()


def test_what_is_short_for_want_of_its_end_is_truncated(root, tmp_path):
    path = root / "cat" / "cut.wav"
    add(path, 2.0)
    os.truncate(path, 8000)
    (bad,) = scan_folder(root, tmp_path / "cache", **SETTINGS | {"max_bad_share": 0.2}).quarantined
    assert (bad.path, bad.reason) == ("cat/cut.wav", "truncated") and "bytes of samples are there" in bad.detail


def test_a_share_at_the_limit_passes(root, tmp_path):
    add(root / "cat" / "short.wav", 0.1)
    assert scan_folder(root, tmp_path / "cache", **SETTINGS | {"max_bad_share": 0.2}).manifest.num_rows == 4


def test_nothing_usable(tmp_path):
    add(tmp_path / "corpus" / "bob" / "1.wav", 0.1)
    with pytest.raises(InputError, match=r"1 of 1 audio file \(100.0 %\) can't be used, which leaves none; most often"):
        scan_folder(tmp_path / "corpus", tmp_path / "cache", **SETTINGS | {"max_bad_share": 1.0})


def test_an_unchanged_tree_is_not_read_again(root, tmp_path, probed):
    first = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert sorted(probed) == ["cat/1.wav", "mon/1.wav", "tue/1.FLAC", "y/1.ogg"]
    probed.clear()
    (stored,) = (tmp_path / "cache" / "manifests").iterdir()
    written = {path.name: path.stat().st_ino for path in stored.iterdir()}
    second = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert probed == [] and second.manifest.equals(first.manifest)
    third = scan_folder(str(root) + "/../corpus/", tmp_path / "cache", **SETTINGS)  # the same folder, named otherwise
    assert probed == [] and third.manifest.equals(first.manifest)
    assert {path.name: path.stat().st_ino for path in stored.iterdir()} == written  # nor written again


def test_only_changes_are_read(root, tmp_path, probed):
    scan_folder(root, tmp_path / "cache", **SETTINGS)
    probed.clear()
    add(root / "cat" / "1.wav", 3.0)  # another size
    same_size = root / "bob" / "mon" / "1.wav"
    os.utime(same_size, ns=(1, 1))
    add(root / "dan" / "1.wav")
    (root / "amy" / "x" / "y" / "1.ogg").unlink()
    result = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert sorted(probed) == ["cat/1.wav", "dan/1.wav", "mon/1.wav"]
    assert result.manifest["path"].to_pylist() == ["bob/mon/1.wav", "bob/tue/1.FLAC", "cat/1.wav", "dan/1.wav"]
    assert result.manifest["samples"].to_pylist() == [8000, 32000, 24000, 8000]


def test_a_mended_file_leaves_the_quarantine(root, tmp_path, probed):
    (root / "bob" / "text.wav").write_text("hello")
    loose = SETTINGS | {"max_bad_share": 0.5}
    assert len(scan_folder(root, tmp_path / "cache", **loose).quarantined) == 1
    probed.clear()
    add(root / "bob" / "text.wav")
    result = scan_folder(root, tmp_path / "cache", **loose)
    assert probed == ["bob/text.wav"] and result.quarantined == [] and result.manifest.num_rows == 5
    assert "left out" not in result.summary()


@pytest.mark.parametrize("name", ["manifest.parquet", "quarantine.csv", "files.parquet"])
@pytest.mark.parametrize("content", [None, b"hello"])
def test_a_damaged_cache_heals(root, tmp_path, name, content):
    first = scan_folder(root, tmp_path / "cache", **SETTINGS)
    (stored,) = (tmp_path / "cache" / "manifests").iterdir()
    (stored / "manifest.arrow").unlink()
    (stored / name).unlink()
    if content is not None:
        (stored / name).write_bytes(content)
    again = scan_folder(root, tmp_path / "cache", **SETTINGS)
    assert again.manifest.equals(first.manifest) and again.quarantined == []
    assert read_manifest(stored / "manifest.parquet").equals(first.manifest)


def test_any_number_of_workers_gives_the_same_and_progress_is_told(tmp_path):
    for i in range(150):
        add(tmp_path / "corpus" / f"s{i % 7}" / f"{i}.wav", 0.5 + i / 1000)
    told = []
    tables = [
        scan_folder(
            tmp_path / "corpus",
            tmp_path / f"cache{workers}",
            workers=workers,
            progress=lambda done, total: told.append((done, total)),
            **SETTINGS,
        ).manifest
        for workers in (1, 8)
    ]
    assert tables[0].equals(tables[1]) and tables[0]["path"].to_pylist() == sorted(tables[0]["path"].to_pylist())
    assert told == [(64, 150), (128, 150), (150, 150)] * 2


def test_several_roots_are_told_apart(tmp_path):
    first, second, third = tmp_path / "a" / "wav", tmp_path / "b" / "wav", tmp_path / "b" / "flac"
    for root in (first, second, third):
        add(root / "bob" / "1.wav")
    (third / "bob" / "2.wav").touch()
    loose = SETTINGS | {"max_bad_share": 0.5}
    result = scan_folders([first, third], tmp_path / "cache", **loose)
    assert result.manifest["utterance"].to_pylist() == ["wav/bob/1.wav", "flac/bob/1.wav"]
    assert result.manifest["speaker"].to_pylist() == ["wav/bob", "flac/bob"]
    assert result.manifest["path"].to_pylist() == ["bob/1.wav"] * 2
    assert result.manifest["root"].to_pylist() == [str(first), str(third)]
    assert [item.path for item in result.quarantined] == ["flac/bob/2.wav"]
    summary = result.summary()
    assert summary.startswith("wav + flac: 2 utterances of 2 speakers, 2.0 s; left out 1 of 3 files (1 empty), listed")
    assert summary.count("quarantine.csv") == 1
    result = scan_folders([first, second, third], tmp_path / "cache", **loose)
    assert result.manifest["speaker"].to_pylist() == ["a/wav/bob", "b/wav/bob", "b/flac/bob"]
    assert scan_folders([first], tmp_path / "cache", **loose).manifest["speaker"].to_pylist() == ["bob"]


@pytest.mark.parametrize("pair", [("corpus", "corpus"), ("corpus", "corpus/bob")])
def test_roots_that_overlap(root, tmp_path, pair):
    with pytest.raises(InputError, match="overlap, so that audio would count twice; give one of them"):
        scan_folders([tmp_path / part for part in pair], tmp_path / "cache", **SETTINGS)


def test_wrong_roots_say_what_is_expected(root, tmp_path):
    (tmp_path / "empty" / "bob").mkdir(parents=True)
    (tmp_path / "empty" / "bob" / "notes.txt").touch()
    add(tmp_path / "flat" / "1.wav")
    layout = r"expected ROOT/SPEAKER/\[SESSION/\.\.\.\]FILE, with a folder for each speaker directly below the root$"
    messages = {
        "gone": "gone: no such folder; check the path$",
        "corpus/cat/1.wav": "1.wav: is a file; give the folder of the corpus$",
        "empty": rf"empty: holds no audio \(\.flac, .*\); {layout}",
        "flat": rf"flat: audio lies directly in it \(such as 1\.wav\); {layout}",
    }
    for name, message in messages.items():
        with pytest.raises(InputError, match=message):
            scan_folder(tmp_path / name, tmp_path / "cache", **SETTINGS)
    with pytest.raises(InputError, match="no corpus folder was given"):
        scan_folders([], tmp_path / "cache", **SETTINGS)


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"min_seconds": -1}, "min_seconds=-1 must be 0 or more"),
        ({"stereo": "left"}, "stereo='left' must be 'quarantine' or 'mix'"),
        ({"max_bad_share": 5}, "max_bad_share=5 must lie in 0 to 1"),
    ],
)
def test_settings_out_of_range(root, tmp_path, setting, message):
    with pytest.raises(InputError, match=message):
        scan_folder(root, tmp_path / "cache", **SETTINGS | setting)


def test_names_that_are_not_utf8(root, tmp_path):
    name = os.fsencode(str(root / "cat")) + b"/\xff.wav"
    try:
        with open(name, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system allows only UTF-8 names")
    result = scan_folder(root, tmp_path / "cache", **SETTINGS | {"max_bad_share": 0.5})
    assert [(item.path, item.reason) for item in result.quarantined] == [("cat/\\udcff.wav", "broken")]
