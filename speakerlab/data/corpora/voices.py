"""VOiCES: LibriSpeech played in four rooms, with and without noise, to many microphones (Richey et al., 2018).

    VOiCES_devkit/source-16k/train/sp0307/Lab41-SRI-VOiCES-src-sp0307-ch127535-sg0042.wav
    VOiCES_devkit/distant-16k/speech/train/rm1/babb/sp0032/Lab41-SRI-VOiCES-rm1-babb-sp0032-ch004137-sg0007-mc01-...wav
    VOiCES_devkit/distant-16k/distractors/rm1/babb/Lab41-SRI-VOiCES-rm1-babb-mc01-stu-clo.wav

The session is the chapter that was read: one reading in four rooms is one occasion of speech. Recordings of the noises
alone and of test signals have splits of their own and no speaker.
"""

import re
from pathlib import Path

from speakerlab import InputError
from speakerlab.data.prepare.described import MEND, Recording, Speaker, stem_of

LAYOUT = "VOiCES_*/[source-16k|distant-16k/speech]/[train|test]/.../Lab41-SRI-VOiCES-*.wav"
AUGMENT = {"augment.noise_dir": "distractors"}
SPEECH = re.compile(
    r"Lab41-SRI-VOiCES-(?:src|(?P<room>rm\d)-(?P<distractor>\w+))-(?P<speaker>sp\d+)-(?P<chapter>ch\d+)-sg\d+"
    r"(?:-(?P<microphone>mc\d+-\w+-\w+)-dg(?P<degrees>\d+))?"
)
NO_SPEECH = re.compile(r"Lab41-SRI-VOiCES-(?P<room>rm\d)-(?P<distractor>\w+)-(?P<microphone>mc\d+-\w+-\w+)")


def describe(path: str) -> Recording | None:
    """The columns that a path tells.

    >>> row = describe("source-16k/train/sp0307/Lab41-SRI-VOiCES-src-sp0307-ch127535-sg0042.wav")
    >>> row[:4]
    ('Lab41-SRI-VOiCES-src-sp0307-ch127535-sg0042', 'sp0307', 'ch127535', 'train')
    >>> dict(row.extra)
    {'room': 'source', 'distractor': '', 'microphone': '', 'degrees': ''}
    """
    stem, folders = stem_of(path), path.split("/")[:-1]
    found = SPEECH.fullmatch(stem)
    if found:
        split = next((folder for folder in folders if folder in ("train", "test")), "")
        return Recording(stem, found["speaker"], found["chapter"], split, _extra(found, "source"))
    found = NO_SPEECH.fullmatch(stem)
    split = next((folder for folder in folders if folder in ("distractors", "room_response")), "")
    return Recording(stem, "", "", split, _extra(found, "")) if found and split else None


def _extra(found: re.Match, room: str) -> dict[str, str]:
    cells = found.groupdict()
    return {"room": cells["room"] or room} | {
        name: cells.get(name) or "" for name in ("distractor", "microphone", "degrees")
    }


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """Gender of `meta/Lab41-SRI-VOiCES-speaker-gender-dataset.tbl`: `speaker gender dataset` between blanks."""
    path = folder / "meta" / "Lab41-SRI-VOiCES-speaker-gender-dataset.tbl"
    if not path.is_file():
        return {}
    speakers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        cells = line.split()
        if not cells or not cells[0].isdigit():  # the header
            continue
        if len(cells) < 2:
            raise InputError(f"{path}, line {number}: is not `speaker gender dataset`; {MEND}")
        speakers[f"sp{int(cells[0]):04d}"] = Speaker(cells[1].lower())
    return speakers
