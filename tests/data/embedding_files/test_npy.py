"""Rows, and the names beside them."""

import pickle

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files import npy as module
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.npy import read
from speakerlab.data.embedding_files.npy import write as write_both

ROWS = np.arange(6.0).reshape(3, 2)


def write(tmp_path, index: str, text: str, rows: np.ndarray = ROWS):
    np.save(tmp_path / "x.npy", rows)
    (tmp_path / index).write_text(text, encoding="utf-8")
    return tmp_path / "x.npy"


def test_an_index_in_text(tmp_path):
    found = read(write(tmp_path, "x.txt", "a/1\nb 2\n\nc\n"))
    assert found.names == ["a/1", "b 2", "c"] and found.speakers is None
    np.testing.assert_array_equal(found.rows, ROWS)


@pytest.mark.parametrize("header", ["utterance,speaker", "Path,spk", "\ufeffname, speaker"])
def test_an_index_in_csv(tmp_path, header):
    found = read(write(tmp_path, "x.csv", f"{header}\na,s\nb,s\nc,t\n"))
    assert found.names == ["a", "b", "c"] and found.speakers == ["s", "s", "t"]
    swapped = read(write(tmp_path, "x.csv", "speaker,utterance\ns,a\ns,b\nt,c\n"))
    assert swapped.names == ["a", "b", "c"] and swapped.speakers == ["s", "s", "t"]


def test_a_bad_index_is_refused(tmp_path):
    path = write(tmp_path, "x.csv", "utterance\na\nb\n")
    with pytest.raises(InputError, match=r"x\.npy: has 3 rows, but its index x\.csv names 2 utterances"):
        read(path)
    with pytest.raises(InputError, match=r"x\.csv, line 1: the header has no column utterance"):
        read(write(tmp_path, "x.csv", "a\nb\nc\n"))
    (tmp_path / "x.csv").unlink()
    with pytest.raises(
        InputError, match=r"x\.npy: has no index beside it: write the utterances' names to x\.txt, one a"
    ):
        read(path)


def test_new_rows_never_get_old_names(tmp_path, monkeypatch):
    """Stopped between the two files: as many rows, of other utterances."""
    write_both(tmp_path / "x.npy", checked(["a", "b", "c"], ROWS, "made"))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        write_both(tmp_path / "x.npy", checked(["d", "e", "f"], -ROWS, "made"))
    with pytest.raises(InputError, match=r"x\.npy: has no index beside it"):
        read(tmp_path / "x.npy")


class Attack:
    def __reduce__(self):
        return eval, ("open('attacked', 'w')",)


def test_arrays_of_objects_are_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", np.array([Attack()] * 3, dtype=object), allow_pickle=True)
    (tmp_path / "x.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"x\.npy: holds Python objects, which could run code"):
        read(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Attack()))  # what np.load would hand to pickle
    with pytest.raises(InputError, match=r"x\.npy: holds Python objects, which could run code"):
        read(tmp_path / "x.npy")
    assert not (tmp_path / "attacked").exists()


def test_an_archive_under_its_suffix_is_refused(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.savez(file, embeddings=np.ones((3, 2)), utterances=np.array(["a", "b", "c"]))
    (tmp_path / "x.txt").write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"x\.npy: is an \.npz archive of arrays; rename it$"):
        read(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:100])
    with pytest.raises(InputError, match=r"x\.npy: not a readable \.npy file"):
        read(tmp_path / "x.npy")
