"""LibriSpeech: readers of audio books (Panayotov et al., 2015); a chapter is a session, a subset a split.

LibriSpeech/train-clean-100/19/198/19-198-0000.flac
"""

import re
from pathlib import Path

from speakerlab import InputError
from speakerlab.data.prepare.described import MEND, Recording, Speaker, stem_of

LAYOUT = "LibriSpeech/SUBSET/READER/CHAPTER/READER-CHAPTER-0000.flac"
AUGMENT: dict[str, str] = {}


def describe(path: str) -> Recording | None:
    """The columns that a path tells.

    >>> describe("LibriSpeech/dev-clean/84/121123/84-121123-0000.flac")[:4]
    ('84-121123-0000', '84', '121123', 'dev-clean')
    """
    *_, subset, reader, chapter, _ = ["", "", "", *path.split("/")]
    stem = stem_of(path)
    if not re.fullmatch(rf"{re.escape(reader)}-{re.escape(chapter)}-\d+", stem) or not reader.isdigit():
        return None
    return Recording(stem, reader, chapter, subset)


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """Gender and subset of `meta/SPEAKERS.TXT`: `ID | SEX | SUBSET | MINUTES | NAME`, comments after a semicolon."""
    path = folder / "meta" / "SPEAKERS.TXT"
    if not path.is_file():
        return {}
    speakers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 4:
            raise InputError(f"{path}, line {number}: is not `ID | SEX | SUBSET | MINUTES | NAME`; {MEND}")
        speakers[cells[0]] = Speaker(cells[1].lower(), "", cells[2])
    return speakers
