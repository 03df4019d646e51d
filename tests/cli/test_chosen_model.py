"""Who says which model it is, and in which order."""

import argparse
import os

import pytest

from speakerlab import InputError
from speakerlab.cli.chosen_model import chosen_gallery, model_source, print_json
from speakerlab.inference.gallery import Gallery, Source


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    monkeypatch.delenv("SPEAKERLAB_MODEL", raising=False)
    monkeypatch.delenv("SPEAKERLAB_GALLERY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_the_command_line_then_the_environment_then_the_gallery(monkeypatch, tmp_path):
    path = tmp_path / "gallery.sqlite"
    Gallery(path, "ab" * 32, 2, "/remembered.ckpt").add("anna", [[1.0, 2.0]], [Source("a", 1.0)])
    assert model_source(None, path) == ("/remembered.ckpt", f"{path} was made with it; --model names another place")
    monkeypatch.setenv("SPEAKERLAB_MODEL", "model.onnx")
    assert model_source(None, path) == ("model.onnx", "SPEAKERLAB_MODEL names it")
    assert model_source("given.ckpt", path) == ("given.ckpt", "")


@pytest.mark.parametrize("gallery", [False, True])
def test_nobody_says_it(tmp_path, gallery):
    path = tmp_path / "none.sqlite" if gallery else None
    with pytest.raises(
        InputError, match=r"^which model\? Give --model PATH, such as --model best.ckpt, or set SPEAKERLAB"
    ):
        model_source(None, path)


def test_the_newest_run_is_the_example(tmp_path):
    for age, name in enumerate(("old", "new")):
        checkpoint = tmp_path / "outputs" / name / "2026" / "checkpoints" / "best.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        os.utime(checkpoint, (age, age))
    with pytest.raises(InputError, match="such as --model outputs/new/2026, or set"):
        model_source(None, None)


def test_which_gallery(monkeypatch, tmp_path):
    def chosen(gallery):
        return chosen_gallery(argparse.Namespace(gallery=gallery))

    assert chosen(None) == tmp_path / "data" / "speakerlab" / "gallery.sqlite"
    monkeypatch.setenv("SPEAKERLAB_GALLERY", "team.sqlite")
    assert chosen(None) == tmp_path / "team.sqlite" and chosen("own.sqlite") == tmp_path / "own.sqlite"


def test_json_passes_any_terminal(capsys):
    print_json({"name": "Zo\u00e9 \udcff", "value": None})
    assert capsys.readouterr().out == '{"name": "Zo\\u00e9 \\udcff", "value": null}\n'
