"""Headers of folders of noise: read once, brought up to date."""

import os

import numpy as np
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data import headers
from speakerlab.data.headers import read_headers


@pytest.fixture
def folder(tmp_path):
    for i in range(5):
        path = tmp_path / "noise" / f"{i % 2}" / f"{i}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100 * (i + 1)), 8000)
    return tmp_path / "noise"


@pytest.fixture
def probed(monkeypatch):
    """The files whose headers are really read."""
    names, probe = [], headers.probe
    monkeypatch.setattr(headers, "probe", lambda path: (names.append(path.name), probe(path))[1])
    return names


def test_only_what_changed_is_read_again(folder, tmp_path, probed):
    steps = []
    first = read_headers(folder, tmp_path / "cache", lambda done, total: steps.append((done, total)))
    assert first["path"].to_pylist() == ["0/0.flac", "0/2.flac", "0/4.flac", "1/1.flac", "1/3.flac"]
    assert first["samples"].to_pylist() == [100, 300, 500, 200, 400] and set(first["sample_rate"].to_pylist()) == {8000}
    assert sorted(probed) == [f"{i}.flac" for i in range(5)] and steps == [(5, 5)]
    probed.clear()
    (stored,) = (tmp_path / "cache").rglob("files.parquet")
    written = stored.stat().st_mtime_ns
    assert read_headers(folder, tmp_path / "cache").equals(first) and probed == []
    assert stored.stat().st_mtime_ns == written
    soundfile.write(folder / "1" / "1.flac", np.zeros(7), 8000)
    os.remove(folder / "0" / "0.flac")
    second = read_headers(folder, tmp_path / "cache")
    assert probed == ["1.flac"] and second["samples"].to_pylist() == [300, 500, 7, 400]


def test_unreadable_files_have_a_reason(folder, tmp_path):
    (folder / "bad.wav").write_bytes(b"RIFF")
    rows = {row["path"]: row for row in read_headers(folder, tmp_path / "cache").to_pylist()}
    assert rows["bad.wav"]["problem"] and not rows["0/0.flac"]["problem"]


def test_folders_of_the_same_name_are_kept_apart(folder, tmp_path):
    other = tmp_path / "other" / "noise"
    other.mkdir(parents=True)
    assert read_headers(folder, tmp_path / "cache").num_rows == 5
    assert read_headers(other, tmp_path / "cache").num_rows == 0
    assert read_headers(folder, tmp_path / "cache").num_rows == 5


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_headers(tmp_path / "nowhere", tmp_path)
