"""What was found, and what to do about it."""

from typing import NamedTuple

GOOD, DOUBTFUL, BROKEN = "good", "doubtful", "broken"


class Finding(NamedTuple):
    """One thing that was looked at.

    group: such as "libraries".
    name: of the thing.
    state: good; doubtful, if only some work is hindered; broken, if what everybody needs does not work.
    text: what was found, a line.
    mend: what to do; empty where nothing is.
    """

    group: str
    name: str
    state: str
    text: str
    mend: str = ""


def reason(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__
