"""What is refused before it can be scored, and rows by name."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked

NAMES, ROWS = ["a/1.wav", "a/2.wav", "b/1.wav"], np.arange(6.0).reshape(3, 2)


def test_rows_of_names_whatever_the_audio_suffix():
    found = checked(NAMES, ROWS, "x.npz")
    assert found.rows.dtype == np.float32 and len(found) == 3
    assert found.rows_of(["b/1.wav", "a/1.flac", "b/1", "a/2.wav"], "list.txt").tolist() == [2, 0, 2, 1]
    with pytest.raises(InputError) as caught:
        found.rows_of(["a/1.wav", "c/1.wav", "c/2.wav", "c/3.wav", "c/4.wav"], "list.txt")
    assert str(caught.value) == (
        "x.npz: 4 of the 5 utterances of list.txt have no embedding: c/1.wav, c/2.wav, c/3.wav, ...; "
        "here the first is a/1.wav"
    )


@pytest.mark.parametrize("rows", [ROWS, ROWS.astype(np.int16), ROWS.astype(">f8"), np.asfortranarray(ROWS)])
def test_numbers_of_any_kind(rows):
    found = checked(NAMES, rows, "x")
    np.testing.assert_array_equal(found.rows, ROWS.astype(np.float32))
    assert found.rows.flags.c_contiguous and found.rows.dtype == np.float32


def test_a_vector_a_name():
    rows = [ROWS[0], ROWS[1][None], ROWS[2].astype(np.float16)]
    np.testing.assert_array_equal(checked(NAMES, rows, "x").rows, ROWS)


@pytest.mark.parametrize(
    "names, rows, speakers, message",
    [
        ([], np.zeros((0, 2)), None, "x: holds no embeddings"),
        (["a", "b", "a"], ROWS, None, "x: utterance 'a' occurs 2 times"),
        (["a", "", "b"], ROWS, None, "x: not every utterance has a name"),
        (["a", 7, "b"], ROWS, None, "x: not every utterance has a name"),
        (NAMES[:2], ROWS, None, r"x: 2 names need embeddings of the shape \(2, dim\), not \(3, 2\)"),
        (NAMES, ROWS[0], None, r"x: 3 names need embeddings of the shape \(3, dim\), not \(2,\)"),
        (NAMES, np.zeros((3, 0)), None, r"not \(3, 0\)"),
        (NAMES, list(ROWS[:2]), None, "x: 3 names, but 2 embeddings"),
        (NAMES, [ROWS[0], np.zeros(3), ROWS[2]], None, "x: a/2.wav has 3 numbers and a/1.wav 2; all need the same"),
        (NAMES, [ROWS[0], np.zeros((4, 2)), ROWS[2]], None, r"x: a/2.wav has an array of the shape \(4, 2\)"),
        (NAMES, np.where(ROWS == 3, np.nan, ROWS), None, "x: 1 of 3 embeddings hold NaN or infinity, .* of a/2.wav"),
        (NAMES, np.where(ROWS == 4, 1e39, ROWS), None, "x: 1 of 3 embeddings hold NaN or infinity, .* of b/1.wav"),
        (NAMES, ROWS.astype(complex), None, "x: its embeddings are of the type complex128, not real numbers"),
        (NAMES, ROWS > 2, None, "of the type bool"),
        (NAMES, [np.array(["1", "2"])] * 3, None, "of the type <U1"),
        (NAMES, ROWS, ["s", "s"], "x: not each of its 3 utterances has a speaker"),
        (NAMES, ROWS, ["s", "s", None], "x: not each of its 3 utterances has a speaker"),
    ],
)
def test_bad_embeddings_are_refused(names, rows, speakers, message):
    with pytest.raises(InputError, match=message):
        checked(names, rows, "x", speakers)


@pytest.mark.parametrize("splits", [["train", "val"], ["train", "val", None]])
def test_a_split_of_all_or_of_none(splits):
    assert checked(NAMES, ROWS, "x", splits=["train", "val", ""]).splits == ["train", "val", ""]
    with pytest.raises(InputError, match="x: not each of its 3 utterances has a split; name all or none"):
        checked(NAMES, ROWS, "x", splits=splits)
