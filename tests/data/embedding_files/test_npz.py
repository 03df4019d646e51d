"""Both forms, as NumPy itself writes them."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.npz import read

ROWS = np.arange(6.0).reshape(3, 2)


def test_an_array_an_utterance(tmp_path):
    np.savez(tmp_path / "x.npz", **{"id1/a/1.wav": ROWS[0], "id1/a/2.wav": ROWS[1][None], "b": ROWS[2]})
    found = read(tmp_path / "x.npz")
    assert found.names == ["id1/a/1.wav", "id1/a/2.wav", "b"] and found.speakers is None
    np.testing.assert_array_equal(found.rows, ROWS)


@pytest.mark.parametrize("key", ["utterances", "names", "ids"])
def test_a_table(tmp_path, key):
    np.savez_compressed(tmp_path / "x.npz", **{key: ["a", "b", "c"], "embeddings": ROWS, "speakers": ["s", "s", "t"]})
    found = read(tmp_path / "x.npz")
    assert found.names == ["a", "b", "c"] and found.speakers == ["s", "s", "t"]
    np.testing.assert_array_equal(found.rows, ROWS)


class Attack:
    def __reduce__(self):
        return eval, ("open('attacked', 'w')",)


def test_objects_are_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "x.npz", utterances=np.array([Attack()] * 3, dtype=object), embeddings=ROWS)
    with pytest.raises(InputError, match=r"x\.npz: holds Python objects, which could run code"):
        read(tmp_path / "x.npz")
    assert not (tmp_path / "attacked").exists()


def test_a_lone_array_is_told_apart(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, ROWS)
    with pytest.raises(InputError, match=r"x\.npz: is a single \.npy array"):
        read(tmp_path / "x.npz")
