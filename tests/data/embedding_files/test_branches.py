"""Embeddings of several networks, brought together by the names of the utterances."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.branches import check_size, check_splits, join, told
from speakerlab.data.embedding_files.embeddings import Embeddings, checked

NAMES = [f"s{i % 3}/{i}.wav" for i in range(6)]
SPEAKERS = [f"s{i % 3}" for i in range(6)]


def source(name: str, names=NAMES, dim: int = 3, **told) -> Embeddings:
    """Each row holds its utterance's number, and the source's size."""
    rows = np.array([[100 * dim + int(one.split("/")[1].split(".")[0])] * dim for one in names], np.float32)
    return checked(names, rows, name, **told)


def test_they_are_joined_by_name_whatever_the_order_and_the_suffix():
    mixed = [NAMES[i].replace(".wav", ".flac") for i in (4, 2, 0, 5, 1, 3)]
    both = join([source("a", speakers=SPEAKERS), source("b", mixed, dim=2, speakers=[n[:2] for n in mixed])])
    assert both.dims == [3, 2] and told(both, "speakers") == SPEAKERS and told(both, "splits") is None
    rows = both.rows_of(["s1/4.wav", "s0/0.wav"], "a list")
    first, second = both.take(rows)
    assert first.tolist() == [[304] * 3, [300] * 3] and second.tolist() == [[204] * 2, [200] * 2]


def test_whoever_tells_speakers_and_splits_tells_them_for_all():
    parts = ["train", "val"] * 3
    both = join([source("a"), source("b", NAMES[::-1], speakers=SPEAKERS[::-1], splits=parts[::-1])])
    assert told(both, "speakers") == SPEAKERS and told(both, "splits") == parts


def test_the_models_branches_order_them():
    sources = [source("a", dim=3), source("b", dim=2)]
    assert join(sources).in_order(["x", "y"], "data.branches").dims == [3, 2]
    assert join(sources, ["y", "x"]).in_order(["x", "y"], "data.branches").dims == [2, 3]
    with pytest.raises(InputError, match=r"data\.branches has 2 sources, but the model 3 branches \(x, y, z\)"):
        join(sources).in_order(["x", "y", "z"], "data.branches")
    with pytest.raises(InputError, match=r"data\.branches is of y, q, but the model's branches are x, y"):
        join(sources, ["y", "q"]).in_order(["x", "y"], "data.branches")


@pytest.mark.parametrize(
    "second, message",
    [
        (source("b", NAMES[:4]), "b: 2 of the 6 utterances of a have no embedding: s1/4.wav, s2/5.wav; here the first"),
        (
            source("b", [*NAMES, "s9/7.wav", "s9/8.wav"]),
            "a: 2 of the 8 utterances of b have no embedding: s9/7.wav, s9/8.wav; all branches need the same",
        ),
        (
            source("b", speakers=[*SPEAKERS[:5], "eve"]),
            "a and b differ in the speaker of 1 of 6 utterances, such as s2/5.wav: s2 and eve",
        ),
    ],
)
def test_what_differs_is_named(second, message):
    with pytest.raises(InputError) as caught:
        join([source("a", speakers=SPEAKERS), second])
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_splits_may_differ_until_they_count():
    parts = ["train"] * 5 + ["val"]
    both = join([source("a", splits=parts), source("b", splits=parts[::-1])])
    with pytest.raises(
        InputError, match="a and b differ in the split of 2 of 6 utterances, such as s0/0.wav: train an"
    ):
        check_splits(both)
    check_splits(join([source("a", splits=parts), source("b")]))


def test_sizes_of_a_models_branches():
    check_size(source("a"), "x", 3)
    with pytest.raises(InputError, match="a: its embeddings have 3 numbers, but those of the model's branch x 256"):
        check_size(source("a"), "x", 256)
