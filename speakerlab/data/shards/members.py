"""How the members of a tar file make up utterances."""

import json
import re
from collections.abc import Collection
from typing import Any

SKIPPED = re.compile(r"__[^/]*__($|/)")  # WebDataset's own remarks
LABELS = ("spk", "json")  # suffixes of members that name the speaker


def split_name(name: str) -> tuple[str, str] | tuple[None, None]:
    """Key and suffix. The suffix begins at the LAST dot: WeSpeaker's keys end in .wav themselves (`a/b/1.wav.spk`).

    >>> split_name("id1/x/00001.wav.spk")
    ('id1/x/00001.wav', 'spk')
    """
    key, dot, suffix = name.rpartition(".")
    return (key, suffix) if dot and key and "/" not in suffix else (None, None)


class Wanted:
    """Says of each member's name, in order, whether it belongs to one of the wanted utterances.

    Args:
        numbers: of the utterances, counted from 0 as they begin in the file.
    """

    def __init__(self, numbers: Collection[int]):
        self.numbers = numbers
        self.key: str | None = None
        self.number = -1

    def __call__(self, name: str) -> bool:
        key, _ = split_name(name)
        if key is None:
            return False
        if key != self.key:
            self.key = key
            self.number += 1
        return self.number in self.numbers


def read_label(suffix: str, data: bytes) -> dict[str, Any]:
    """What a `.spk` or `.json` member says; "speaker" at least.

    Raises:
        ValueError: if it names no speaker.
    """
    text = data.decode("utf-8")
    if suffix == "spk":
        about = {"speaker": text.strip()}
    else:
        about = json.loads(text)
        if not isinstance(about, dict):
            raise ValueError("it holds no object")
    if not isinstance(about.get("speaker"), str) or not about["speaker"]:
        raise ValueError('it names no "speaker"')
    return about
