"""Files of scores: what is written is read back, in any of three forms."""

import csv

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.score_files import in_order_of, read_scores, write_scores
from speakerlab.data.trials import Trials

SCORES = np.array([0.1 + 2e-8, -1e-12, 3.0])


def trials(names=("a/1.wav", "a/2.wav", "b/1.wav")) -> Trials:
    enrol, test = np.array([0, 2, 1], np.int32), np.array([1, 0, 2], np.int32)
    return Trials(np.array([1, 0, 1], np.int8), enrol, test, list(names), np.arange(1, 4), "list")


@pytest.mark.parametrize("names", [("a/1", "a/2", "b/1"), ("a, b/1", 'say "hi"', "b 1"), ("ü", "ö", "ä")])
@pytest.mark.parametrize("llrs", [None, np.array([-5.25, 1e30, 0.0])])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_is_read_back(tmp_path, names, llrs, dtype):
    listed = trials(names)
    write_scores(tmp_path / "new" / "list.csv", listed, SCORES.astype(dtype), llrs)
    with open(tmp_path / "new" / "list.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["enrol"], row["test"]) for row in rows] == [
        ("1", names[0], names[1]),
        ("0", names[2], names[0]),
        ("1", names[1], names[2]),
    ]
    found = read_scores(tmp_path / "new" / "list.csv")
    np.testing.assert_array_equal(found.scores.astype(dtype), SCORES.astype(dtype))  # to the last bit
    assert (found.llrs is None) == (llrs is None)
    if llrs is not None:
        np.testing.assert_array_equal(found.llrs, llrs)
    back = found.trials()
    assert back.labels.tolist() == [1, 0, 1] and sorted(back.utterances) == sorted(names)
    for side in ("enrol", "test"):
        assert [back.utterances[i] for i in getattr(back, side)] == [names[i] for i in getattr(listed, side)]


@pytest.mark.parametrize(
    "name, text",
    [
        ("x.txt", "1 a/1 a/2 0.5\n\n0 b/1\ta/1 -1e-3\n"),
        ("x.csv", "label,enrol,test,score\n1,a/1,a/2,0.5\n0,b/1,a/1,-0.001\n"),
        ("x.csv", '"score","Test","enroll","key"\n0.5,a/2,a/1,target\n-0.001,a/1,b/1,nontarget\n'),
    ],
)
def test_forms(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = read_scores(tmp_path / name)
    assert found.enrol.to_pylist() == ["a/1", "b/1"] and found.test.to_pylist() == ["a/2", "a/1"]
    assert found.scores.tolist() == [0.5, -0.001] and found.labels.tolist() == [1, 0] and found.llrs is None


def test_kaldi_scores_have_no_labels(tmp_path):
    (tmp_path / "scores").write_text("a/1 a/2 0.5\nb/1 a/1 -2\n")
    found = read_scores(tmp_path / "scores")
    assert found.scores.tolist() == [0.5, -2.0] and found.labels is None
    with pytest.raises(InputError, match="says of no trial whether it is a target; add trials=LIST"):
        found.trials()


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("x.txt", "", "holds no scores"),
        ("x.csv", "label,enrol,test,score\n", "holds no scores"),
        ("x.txt", "a b\n", "line 1: neither 'label enrol test score' nor"),
        ("x.txt", "1 a b 0.5\na b 0.5\n", "line 2: not 4 columns, as the first line has"),
        ("x.txt", "1 a b 0.5\n0 a c nan\n", "line 2: the score is no finite number"),
        ("x.txt", "1 a b 0.5\n0 a c high\n", "line 2: the score is no finite number"),
        ("x.txt", "2 a b 0.5\n", "line 1: label not 1 or 0"),
        ("x.csv", "label,enrol,test\n1,a,b\n", "line 1: the header has no column score"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: there is no such file of scores"):
        read_scores(tmp_path / "gone.csv")


def test_rows_in_the_order_of_a_list(tmp_path):
    write_scores(tmp_path / "x.csv", trials(), SCORES)
    found = read_scores(tmp_path / "x.csv")
    wanted = ["b/1.wav", "a/1.wav"], ["a/1.wav", "a/2.wav"]
    assert in_order_of(found, *wanted, "list").tolist() == [1, 0]
    assert in_order_of(found, found.enrol, found.test, "list").tolist() == [0, 1, 2]
    for path, tests in ((tmp_path / "one.txt", "bcd"), (tmp_path / "other.txt", "dbc")):  # one enrolled against three
        path.write_text("".join(f"0 a {test} 0\n" for test in tests))
    other = read_scores(tmp_path / "other.txt")
    assert in_order_of(read_scores(tmp_path / "one.txt"), other.enrol, other.test, "list").tolist() == [2, 0, 1]
    with pytest.raises(
        InputError, match=r"x\.csv: has no score for 1 of the 2 trials of list, such as a/2\.wav a/1\.wav"
    ):
        in_order_of(found, ["b/1.wav", "a/2.wav"], ["a/1.wav", "a/1.wav"], "list")  # the sides are not swapped
