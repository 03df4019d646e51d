"""Lists are found where people keep them, and not fetched where they are there."""

from pathlib import Path

import pytest

from speakerlab.data.prepare.lists import copy_lists, missing_lists
from speakerlab.data.prepare.sources import read_sources
from speakerlab.shipped import CONF

LISTS = read_sources(CONF / "prepare/voxceleb1.yaml").lists
VOICES = read_sources(CONF / "prepare/voices.yaml").lists


def put(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(name)


@pytest.mark.parametrize(
    "place",
    [
        "vox/veri_test2.txt",
        "vox/trials/veri_test2.txt",
        "vox/meta/veri_test2.txt",
        "veri_test2.txt",
        "trials/veri_test2.txt",
    ],
)
def test_places(tmp_path, place):
    put(tmp_path, place)
    (tmp_path / "vox").mkdir(exist_ok=True)
    assert len(missing_lists(LISTS, tmp_path / "vox", tmp_path / "to")) == len(LISTS) - 1
    assert not (tmp_path / "to").exists()
    missing = copy_lists(LISTS, tmp_path / "vox", tmp_path / "to")
    assert "veri_test2.txt" not in [entry.file.name for entry in missing] and len(missing) == len(LISTS) - 1
    assert (tmp_path / "to/trials/veri_test2.txt").read_text() == place


@pytest.mark.parametrize("tree", [".", "VOiCES_devkit", "VOiCES_devkit/references"])
def test_lists_inside_the_corpus(tmp_path, tree):
    put(tmp_path / "data", VOICES[0].inside)
    assert copy_lists(VOICES, tmp_path / "data" / tree, tmp_path / "to") == []
    assert (tmp_path / "to/meta/Lab41-SRI-VOiCES-speaker-gender-dataset.tbl").is_file()


def test_what_is_there_stays(tmp_path):
    put(tmp_path, "vox/iden_split.txt")
    put(tmp_path, "to/iden_split.txt")
    copy_lists(LISTS, tmp_path / "vox", tmp_path / "to")
    assert (tmp_path / "to/iden_split.txt").read_text() == "to/iden_split.txt"
