"""Every format gives back what it was given, and a folder means the one file in it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.embedding_files.formats import FORMATS, place_of, read_embeddings, write_embeddings

SUFFIXES = sorted(FORMATS)


def some(speakers: bool = True, count: int = 7, dim: int = 5) -> Embeddings:
    rows = np.random.default_rng(count).standard_normal((count, dim)).astype(np.float32)
    names = [f"id{i % 3}/ö/{i}.wav" for i in range(count)]
    return checked(names, rows, "made", [f"id{i % 3}" for i in range(count)] if speakers else None)


def same(first: Embeddings, second: Embeddings) -> bool:
    return (
        first.names == second.names
        and first.speakers == second.speakers
        and first.splits == second.splits
        and first.checkpoint == second.checkpoint
        and first.rows.dtype == second.rows.dtype == np.float32
        and np.array_equal(first.rows, second.rows)
    )


@pytest.mark.parametrize("speakers", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path, suffix, speakers):
    """From the file, from its folder, from the folder moved elsewhere, and after another set took its place."""
    path = place_of(str(tmp_path / "new" / f"all{suffix}"))
    write_embeddings(path, some(not speakers, count=9))
    write_embeddings(path, some(speakers))
    assert same(read_embeddings(str(path)), some(speakers))
    assert same(read_embeddings(str(path.parent)), some(speakers))
    moved = shutil.move(path.parent, tmp_path / "moved")
    assert same(read_embeddings(moved), some(speakers))
    assert not [file for file in (tmp_path / "moved").iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("speakers", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_splits_and_the_checkpoint_are_kept(tmp_path, suffix, speakers):
    """And go with the file that takes their place."""
    parts = ["train", "val", "train", "test", "train", "train", "val"]
    given = replace(some(speakers), splits=parts, checkpoint="/runs/ö/best.ckpt")
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, given)
    assert same(read_embeddings(str(path)), given) and same(read_embeddings(str(tmp_path)), given)
    write_embeddings(path, some(speakers))
    assert same(read_embeddings(str(path)), some(speakers))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"checkpoint": 3}', '{"other": "x"}'])
def test_another_programs_json_beside_it(tmp_path, content):
    write_embeddings(tmp_path / "x.npz", some())
    (tmp_path / "x.json").write_text(content)
    assert same(read_embeddings(str(tmp_path / "x.npz")), some())


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".ark", ".scp")])
def test_names_with_spaces_and_commas(tmp_path, suffix):
    names = ["a b/1.wav", 'c,"d"', "ö"]
    given = checked(names, np.eye(3), "made", ["s, t", "u v", "w"])
    write_embeddings(tmp_path / f"x{suffix}", given)
    assert same(read_embeddings(str(tmp_path / f"x{suffix}")), given)


def test_a_folder_to_write_to(tmp_path):
    (tmp_path / "v1.2").mkdir()
    for given in (str(tmp_path / "plain"), f"{tmp_path}/exp.1/", str(tmp_path / "v1.2")):
        path = place_of(given)
        assert path.name == "embeddings.npy" and path.parent.is_dir()
        write_embeddings(path, some())
        assert same(read_embeddings(given), some())
    with pytest.raises(
        InputError, match=r"save_embeddings=.*x\.mat: \.mat is no format of embeddings; take one of \.npy"
    ):
        place_of(str(tmp_path / "x.mat"))
    with pytest.raises(InputError, match=r"save_embeddings=.* can't be made"):
        place_of("/dev/null/x/y.npz")


def test_what_is_no_file_of_embeddings(tmp_path):
    with pytest.raises(InputError, match="embeddings=.*gone.npz: there is no such file or folder"):
        read_embeddings(str(tmp_path / "gone.npz"))
    (tmp_path / "x.txt").write_text("a 1 2 3\n")
    with pytest.raises(InputError, match=r"enrolment=.*x\.txt: embeddings are read from \.npy, .* or a folder"):
        read_embeddings(str(tmp_path / "x.txt"), "enrolment")
    with pytest.raises(InputError, match="this folder holds no embeddings"):
        read_embeddings(str(tmp_path))
    for name in ("a.npz", "b.pkl"):
        write_embeddings(tmp_path / name, some())
    with pytest.raises(InputError, match=r"holds 2 files of embeddings \(a\.npz, b\.pkl\): name one of them"):
        read_embeddings(str(tmp_path))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused_in_a_line(tmp_path, suffix, kept):
    path = tmp_path / f"x{suffix}"
    write_embeddings(path, some(count=40))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError) as caught:
        read_embeddings(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_something_else_is_refused_in_a_line(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for content in (b"hello world\n", bytes(range(256)) * 20, b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_embeddings(str(path))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
