"""Files that decode, and the memory of them."""

import numpy as np
import soundfile

from speakerlab.data import decodable
from speakerlab.data.decodable import undecodable


def write(path, value: float = 0.1) -> None:
    soundfile.write(path, np.full(1000, value), 8000, subtype="FLOAT")


def test_what_was_found_is_remembered_until_a_file_changes(tmp_path, monkeypatch):
    looked, examine = [], decodable.examine
    monkeypatch.setattr(decodable, "examine", lambda file: looked.append(file.name) or examine(file))
    good, bad, gone = (tmp_path / name for name in ("good.wav", "bad.wav", "gone.wav"))
    write(good)
    write(bad, np.nan)
    seen = []
    found = undecodable([good, bad, gone, bad], tmp_path / "memory.jsonl", lambda *state: seen.append(state))
    assert [(file.path, file.reason) for file in found] == [(str(bad), "NaN"), (str(gone), "unreadable")]
    assert seen == [(1, 3), (2, 3), (3, 3)] and sorted(looked) == ["bad.wav", "gone.wav", "good.wav"]
    looked.clear()
    assert undecodable([good, bad, gone], tmp_path / "memory.jsonl") == found and not looked
    soundfile.write(bad, np.full(1000, 0.1), 16000)
    assert [file.path for file in undecodable([good, bad, gone], tmp_path / "memory.jsonl")] == [str(gone)]
    assert looked == ["bad.wav"]
