"""Files that can't be used: how many of each kind there are, and when they are too many."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from speakerlab import InputError
from speakerlab.data.amounts import counted


class BadFile(NamedTuple):
    """A file that is left out, by its path in the corpus; `reason` is the kind of its fault."""

    path: str
    reason: str
    detail: str


class LeftOut(NamedTuple):
    """How many files have a kind of fault, and one of them."""

    files: int
    example: str


def count_left_out(items: Iterable[tuple[str, str, str]]) -> dict[str, LeftOut]:
    """Reason -> how many files and an example, the commonest reason first.

    Args:
        items: `BadFile`s, or the rows of a list of them.

    >>> count_left_out([("a.wav", "empty", "0 bytes"), ("b.wav", "stereo", "2 channels"), ("c.wav", "empty", "")])
    {'empty': LeftOut(files=2, example='a.wav: 0 bytes'), 'stereo': LeftOut(files=1, example='b.wav: 2 channels')}
    """
    found: dict[str, LeftOut] = {}
    for path, reason, detail in items:
        files, example = found.get(reason, (0, f"{path}: {detail}" if detail else path))
        found[reason] = LeftOut(files + 1, example)
    return dict(sorted(found.items(), key=lambda item: -item[1].files))


def commonest(items: Iterable[BadFile]) -> str:
    """The examples of `refusal`: the commonest fault.

    >>> commonest([BadFile("a.wav", "empty", "0 bytes")])
    'most often empty (1, such as a.wav: 0 bytes)'
    """
    reason, (files, example) = next(iter(count_left_out(items).items()))
    return f"most often {reason} ({files:,}, such as {example})"


def check_share(setting: str, share: float) -> None:
    """InputError for a largest share of bad files that is none; `setting` is what the user calls it."""
    if not 0 <= share <= 1:
        raise InputError(f"{setting}={share} must lie in 0 to 1")


def too_many(bad: int, total: int, share: float) -> bool:
    """Whether more than this share of `total` is bad, or all of it."""
    return bad > share * total or bad == total


def refusal(
    name: str, bad: int, total: int, noun: str, setting: str, share: float, examples: str, listed: Path
) -> InputError:
    """What to raise where `too_many`.

    Args:
        name: of the corpus or whatever it is about.
        bad, total: how many of how many.
        noun: of what, in the singular.
        setting: what the user calls the share.
        share: its value.
        examples: some of the bad ones, and what is wrong with them.
        listed: the file where they all stand.
    """
    limit = f"more than {setting}={share:g} allows" if bad < total else "which leaves none"
    return InputError(
        f"{name}: {bad:,} of {counted(total, noun)} ({100 * bad / total:.1f} %) can't be used, {limit}; {examples}; "
        f"all are listed in {listed}"
    )
