"""The commands as typed, on one gallery."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recognizers import write_checkpoint, write_run

from speakerlab.cli.main import main
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.gallery import Gallery

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


@pytest.fixture
def gallery(tmp_path, monkeypatch) -> Path:
    """The usual gallery, in a home of its own; nothing names a model."""
    monkeypatch.delenv("SPEAKERLAB_MODEL", raising=False)
    monkeypatch.delenv("SPEAKERLAB_GALLERY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "speakerlab" / "gallery.sqlite"


def command(*arguments: object) -> int | str:
    try:
        main(list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return 0


def files(folders, speaker: str) -> list[Path]:
    return sorted((folders.development / speaker).rglob("*.flac"))


def test_enrol_identify_list_forget(run, folders, gallery, capsys):
    first, second = files(folders, "s0"), files(folders, "s2")
    assert command("enroll", "anna", *first[:2], "--model", run) == 0
    assert capsys.readouterr().out == f"anna: 2 added, 2 in all ({gallery})\n"
    # From here on the gallery knows the model.
    assert command("enroll", "boris", *second[:2], "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["added"], facts["recordings"], facts["seconds"]) == ("boris", 2, 2, 2.0)
    assert command("enroll", "anna", *first) == 0
    assert capsys.readouterr().out == f"anna: 1 added, 3 in all ({gallery})\n"

    recognizer = SpeakerRecognizer.load(run, device="cpu")
    rows = np.array([recognizer.embed(path) for path in first], np.float64)
    mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    score = float(rows[2] @ mean / np.linalg.norm(rows[2]) / np.linalg.norm(mean))
    assert command("identify", first[2], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accepted"] == "anna" and found["threshold"] == 0.25
    assert [one["name"] for one in found["candidates"]] == ["anna", "boris"]
    assert found["candidates"][0]["score"] == pytest.approx(score, abs=1e-5)

    assert command("speakers") == 0
    out = capsys.readouterr().out
    assert re.search(r"anna +│ +3 │ +3\.0 │ +20\d\d-\d\d-\d\d", out) and f"model    {run}" in out
    assert command("forget", "anna") == 0
    assert capsys.readouterr().out == f"anna: forgotten, recordings: 3 ({gallery})\n"
    assert command("speakers", "--json") == 0
    (left,) = json.loads(capsys.readouterr().out)["speakers"]
    assert (left["name"], left["recordings"], left["seconds"]) == ("boris", 2, 2.0)
    assert "'anna': nobody of this name is enrolled" in command("forget", "anna")


def test_a_stranger_and_no_decision(run, folders, gallery, tmp_path, capsys):
    first = files(folders, "s0")
    command("enroll", "anna", *first, "--model", run)
    capsys.readouterr()
    assert command("identify", first[0], "--threshold", 1, "--top", 1) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a stranger" and lines[1].startswith("  anna  score ")
    assert lines[2:] == ["threshold 1.0000 (given)"]
    bare = write_checkpoint(tmp_path / "bare.ckpt")  # the same network without a run's measurements
    assert command("identify", first[0], "--model", bare) == 4
    out, err = capsys.readouterr()
    assert out.startswith("no decision\n  anna  score ") and "no threshold, so no decision" in err


def test_bad_files_are_left_out(run, folders, gallery, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("hello")
    first = files(folders, "s0")[0]
    assert command("enroll", "anna", first, tmp_path / "bad.wav", "--model", run) == 1
    out, err = capsys.readouterr()
    assert out.startswith("anna: 1 added, 1 in all") and err.startswith(
        f"not enrolled: {tmp_path}/bad.wav: not readable"
    )
    assert command("enroll", "boris", tmp_path / "bad.wav").startswith("error: 'boris' was not enrolled: ")
    assert [one.name for one in Gallery.at(gallery).speakers()] == ["anna"]


def test_a_folder_of_recordings(run, folders, gallery, capsys):
    assert command("enroll", "anna", folders.development / "s0", "--model", run) == 0
    assert "anna: 3 added, 3 in all" in capsys.readouterr().out


def test_what_is_wrong_is_one_line(run, folders, gallery, tmp_path, capsys):
    first = files(folders, "s0")
    assert command("identify", first[0]).startswith("error: which model? Give --model PATH")
    assert command("identify", first[0], "--model", run) == f"error: {gallery}: nobody is enrolled yet"
    assert command("forget", "anna") == f"error: {gallery}: there is no such gallery: nobody is enrolled yet"
    said = "error: 'an\\nna' is no name of a speaker: it holds control or invisible characters"
    assert command("enroll", "an\nna", first[0], "--model", tmp_path / "none") == said
    assert command("speakers") == 0 and command("speakers", "--json") == 0
    plain, facts = capsys.readouterr().out.splitlines()
    assert plain == f"nobody is enrolled ({gallery})" and json.loads(facts)["speakers"] == []
    command("enroll", "anna", first[0], "--model", run)
    other = write_run(tmp_path / "other" / "2026", seed=1)
    for words in (("enroll", "boris", first[0]), ("identify", first[0])):
        said = command(*words, "--model", other)
        assert re.match(rf"error: {gallery}: holds another model's embeddings, of {run} \(fingerprint", said)
    own = tmp_path / "own.sqlite"
    assert command("enroll", "boris", first[0], "--model", other, "--gallery", own) == 0
    assert [one.name for one in Gallery.at(own).speakers()] == ["boris"]
    own.write_text("nonsense " * 100)
    assert "it is no database of SQLite" in command("speakers", "--gallery", own)


def test_a_model_that_moved_is_told(run, folders, gallery, tmp_path):
    moving = tmp_path / "moving"
    write_checkpoint(moving / "best.ckpt")
    command("enroll", "anna", files(folders, "s0")[0], "--model", moving / "best.ckpt")
    moving.rename(tmp_path / "moved")
    said = command("identify", files(folders, "s0")[0])
    assert said.startswith("error: ") and said.endswith(f"({gallery} was made with it; --model names another place)")


@pytest.mark.slow
def test_two_commands_enrol_at_once(run, folders, gallery):
    words = [sys.executable, "-m", "speakerlab.cli.main", "enroll"]
    processes = [
        subprocess.Popen([*words, name, *map(str, files(folders, speaker)), "--model", str(run)], cwd=ROOT)
        for name, speaker in (("anna", "s0"), ("boris", "s1"), ("anna", "s2"))
    ]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert [one[:2] for one in Gallery.at(gallery).speakers()] == [("anna", 6), ("boris", 3)]
