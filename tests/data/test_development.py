import os

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.development import read_development_trials, write_development_trials
from speakerlab.data.trials import Trials


def trials() -> Trials:
    pairs = np.array([[0, 1], [0, 2], [2, 1], [3, 0]], np.int32)
    names = ["amy/1.wav", "amy/2.wav", "böb/1.wav", "böb/2.wav"]
    return Trials(np.array([1, 0, 0, 1], np.int8), pairs[:, 0], pairs[:, 1], names, np.arange(1, 5), "test")


def test_round_trip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / f"a folder/{i} ö.flac" for i in range(3)]
    write_development_trials(tmp_path / "run", trials(), [*files, tmp_path / "x" / ".." / "relative.wav"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found, found_files = read_development_trials(tmp_path / "run")
    assert found.utterances == trials().utterances
    for name in ("labels", "enrol", "test"):
        assert getattr(found, name).tolist() == getattr(trials(), name).tolist()
    assert found_files == [*files, tmp_path / "relative.wav"]


def test_relative_files_are_kept_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_development_trials(tmp_path / "run", trials(), [type(tmp_path)(f"{i}.wav") for i in range(4)])
    monkeypatch.chdir(os.sep)
    assert read_development_trials(tmp_path / "run")[1] == [tmp_path / f"{i}.wav" for i in range(4)]


def test_a_folder_without_them_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} holds no development trials; give trials=LIST"):
        read_development_trials(tmp_path)
