"""The command as typed: what it writes is what the API embeds, and what evaluate.py reads."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from recognizers import write_run

from speakerlab.cli.main import main
from speakerlab.data.embedding_files.formats import read_embeddings
from speakerlab.inference import SpeakerRecognizer


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


@pytest.fixture(scope="module")
def rows(run, folders) -> dict[str, np.ndarray]:
    """Of each development file, by the API, by its path relative to the folder."""
    recognizer = SpeakerRecognizer.load(run, device="cpu")
    files = sorted(folders.development.rglob("*.flac"))
    return {path.relative_to(folders.development).as_posix(): recognizer.embed(path) for path in files}


def embed(run, *arguments: object) -> int | str:
    with pytest.raises(SystemExit) as caught:
        main(["embed", *map(str, arguments), "--model", str(run), "--device", "cpu"])
    return caught.value.code


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".npy", ".pkl", ".safetensors", ".ark"])
def test_a_folder_in_every_format(run, rows, folders, tmp_path, capsys, suffix):
    place, root = tmp_path / f"out{suffix}", folders.development
    assert embed(run, root, "-o", place, "--relative-to", root, "--batch-size", 4) == 0
    assert capsys.readouterr() == (f"9 of 9 files embedded: {place}\n", "")
    saved = read_embeddings(str(place))
    assert sorted(saved.names) == sorted(rows)
    assert saved.checkpoint == str(run / "checkpoints" / "best.ckpt")
    for name, row in zip(saved.names, saved.rows, strict=True):
        np.testing.assert_allclose(row, rows[name], atol=1e-4)


def test_bad_files_cost_nothing_but_themselves(run, rows, folders, tmp_path, capsys):
    good, bad = folders.development / "s0/a/0.flac", tmp_path / "bad.wav"
    bad.write_text("hello")
    place = tmp_path / "out.npz"
    assert embed(run, bad, good, tmp_path / "none.wav", good, "-o", place) == 1
    out, err = capsys.readouterr()
    assert out == f"1 of 3 files embedded: {place}\n"
    first, second = err.splitlines()
    assert first.startswith(f"not embedded: {bad}: not readable as audio")
    assert second.startswith(f"not embedded: {tmp_path / 'none.wav'}: can't be opened")
    saved = read_embeddings(str(place))
    assert saved.names == [str(good)]
    np.testing.assert_allclose(saved.rows[0], rows["s0/a/0.flac"], atol=1e-5)


def test_nothing_is_written_where_nothing_could_be_embedded(run, tmp_path, capsys):
    assert embed(run, tmp_path / "none.wav", "-o", tmp_path / "out.npz") == 1
    assert capsys.readouterr().out == "0 of 1 files embedded\n" and not list(tmp_path.iterdir())


def test_in_bfloat16(run, rows, folders, capsys):
    exact = rows["s1/a/1.flac"]
    assert embed(run, folders.development / "s1/a/1.flac", "--json", "--precision", "bf16") == 0
    found = json.loads(capsys.readouterr().out)["embedding"]
    assert 1e-6 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.03


def test_json_lines(run, rows, folders, tmp_path, capsys):
    files = [folders.development / "s1/a/1.flac", tmp_path / "none.wav", folders.development / "s0/a/2.flac"]
    assert embed(run, *files, "--json") == 1
    out, err = capsys.readouterr()
    first, second, third = map(json.loads, out.splitlines())
    np.testing.assert_allclose(first.pop("embedding"), rows["s1/a/1.flac"], atol=1e-5)
    np.testing.assert_allclose(third.pop("embedding"), rows["s0/a/2.flac"], atol=1e-5)
    assert first == {"file": str(files[0]), "seconds": 1.0, "notes": []} and third["file"] == str(files[2])
    assert second.keys() == {"file", "error"} and second["error"].startswith("can't be opened")
    assert err.splitlines()[-1] == "2 of 3 files embedded"
    assert embed(run, *files, "--json", "-o", tmp_path / "out.npy") == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one.get("row") for one in found] == [0, None, 1] and "embedding" not in found[0]


def test_names_that_are_no_unicode(run, folders, tmp_path, capsys):
    odd, good = tmp_path / os.fsdecode(b"\xff.flac"), folders.development / "s0/a/0.flac"
    shutil.copy(good, odd)
    assert embed(run, odd, good, "-o", tmp_path / "out.parquet") == 1
    assert "its name is no UTF-8; rename it" in capsys.readouterr().err
    assert read_embeddings(str(tmp_path / "out.parquet")).names == [str(good)]


def test_what_is_wrong_is_said_before_a_model_is_loaded(tmp_path, folders):
    (tmp_path / "empty").mkdir()
    file = folders.development / "s0/a/0.flac"
    for arguments, said in {
        (file,): r"where to\? Give -o FILE",
        (file, "-o", tmp_path / "out.xyz"): "--output=.*out.xyz: .xyz is no format of embeddings",
        (tmp_path / "empty", "-o", tmp_path / "out.npz"): "empty: holds no audio",
        (file, "-o", tmp_path / "out.npz", "--relative-to", tmp_path): "does not lie below --relative-to",
    }.items():
        with pytest.raises(SystemExit, match=f"^error: .*{said}"):
            main(["embed", *map(str, arguments), "--model", str(tmp_path / "none.ckpt")])
