"""Exceptions as one line."""

import pytest

from speakerlab.cli.health.finding import reason


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (MemoryError(), "MemoryError"),
        (OSError("x" * 999), f"OSError: {'x' * 200}"),
    ],
)
def test_one_line(error, line):
    assert reason(error) == line
