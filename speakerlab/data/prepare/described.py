"""What a corpus's layout says of a recording and of a speaker; the functions of `data/corpora/` give these.

A corpus's module has

    LAYOUT: str                          where its recordings lie, in words, for messages
    describe(path) -> Recording | None   of a path relative to the tree; None if it is not in the corpus's layout
    read_speakers(folder) -> {speaker: Speaker}     from the lists in the prepared folder; empty where there are none
    AUGMENT: {label: split}              parts that serve as augmentation material
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from speakerlab import InputError

NOTHING: Mapping[str, str] = MappingProxyType({})
MEND = "remove it here, and mend or remove the one that it was copied from, then run again"


class Recording(NamedTuple):
    """Columns of a manifest that follow from a path; `extra` are those that only this corpus has."""

    utterance: str
    speaker: str  # "" for what is no speech of one known person
    session: str
    split: str  # "" if the path does not tell
    extra: Mapping[str, str] = NOTHING


class Speaker(NamedTuple):
    """What the official lists say; "" where they say nothing."""

    gender: str = ""  # "f" or "m"
    nationality: str = ""
    split: str = ""


def read_columns(path: Path, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """These columns of a table with a header line, stripped of blanks.

    Between columns stands a tab where the header has one, else a comma: VoxCeleb2's table is about in both forms.

    Raises:
        InputError: if the file is no such table; the message says what to do.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text; {MEND}") from error
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    header = rows[0] if rows else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r} (it has {header[:6]}); {MEND}")
    places = [header.index(name) for name in columns]
    short = next((n for n, row in enumerate(rows, start=1) if len(row) <= max(places)), None)
    if short is not None:
        raise InputError(f"{path}, line {short}: has fewer columns than its header; {MEND}")
    return [tuple(row[place] for place in places) for row in rows[1:]]


def stem_of(path: str) -> str:
    """A file's name without folders and suffix.

    >>> stem_of("dev/wav/id10001/a.b/00001.wav")
    '00001'
    """
    return path.rpartition("/")[2].rpartition(".")[0]
