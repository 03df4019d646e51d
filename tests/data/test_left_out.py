"""When bad files are too many, and the line that says so."""

from pathlib import Path

import pytest

from speakerlab import InputError
from speakerlab.data.left_out import BadFile, check_share, commonest, count_left_out, refusal, too_many


def test_left_out_keeps_the_first_example_and_sorts_by_count():
    items = [
        ("a", "stereo", "2"),
        ("b", "broken", "x"),
        ("c", "broken", "y"),
        ("d", "stereo", "2"),
        ("e", "broken", ""),
    ]
    counted = count_left_out(items)
    assert list(counted) == ["broken", "stereo"]
    assert counted["broken"] == (3, "b: x")


def test_most_of_them_are_shown():
    files = [BadFile("a", "stereo", "2"), BadFile("b", "broken", "x"), BadFile("c", "broken", "y")]
    assert commonest(files) == "most often broken (2, such as b: x)"


@pytest.mark.parametrize(
    "bad, total, share, expected",
    [
        (0, 10, 0.0, False),
        (1, 10, 0.0, True),
        (1, 10, 0.1, False),  # at the limit
        (2, 10, 0.1, True),
        (3, 4, 1.0, False),
        (4, 4, 1.0, True),  # nothing is left
    ],
)
def test_the_limit(bad, total, share, expected):
    assert too_many(bad, total, share) == expected


def test_the_line():
    line = "x: 1,200 of 2,000 utterances (60.0 %) can't be used, more than a.b=0.05 allows; such as c: d; "
    error = refusal("x", 1200, 2000, "utterance", "a.b", 0.05, "such as c: d", Path("l.csv"))
    assert isinstance(error, InputError) and str(error) == line + "all are listed in l.csv"
    assert "x: 1 of 1 file (100.0 %) can't be used, which leaves none; " in str(
        refusal("x", 1, 1, "file", "a.b", 1.0, "such as c: d", Path("l.csv"))
    )


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share):
    with pytest.raises(InputError, match=r"data\.max_bad_share=.* must lie in 0 to 1"):
        check_share("data.max_bad_share", share)
