"""Amounts around the places where the unit changes."""

import pytest

from speakerlab.data.amounts import counted, duration, size


def test_counted():
    assert [counted(count, "file") for count in (0, 1, 2, 1000)] == ["0 files", "1 file", "2 files", "1,000 files"]


@pytest.mark.parametrize(
    "seconds, expected",
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1.0 min"), (3599, "60.0 min"), (3600, "1.0 h"), (3.6e6, "1,000.0 h")],
)
def test_duration(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    "count, expected",
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (236_000, "236.0 kB"), (1.25e9, "1.2 GB"), (2.5e15, "2500.0 TB")],
)
def test_size(count, expected):
    assert size(count) == expected
