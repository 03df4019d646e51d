"""What a file's bytes say it is, whatever its name, and whether it ends where its header says.

libsndfile shortens a cut-off WAV or Ogg file without a word, and FFmpeg forgives an MP4 file that lacks its last bytes.
"""

import os
import struct
from pathlib import Path

# What may lie behind a suffix; suffixes that are not here are not judged.
CONTENT = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "Ogg",
    ".opus": "Ogg",
    ".m4a": "MP4",
    ".mp4": "MP4",
    ".mp3": "MP3",
    ".aac": "AAC",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".sph": "NIST",
}
OPEN_ENDED = (0, 0xFFFFFFFF)  # data sizes of a WAV that was written to a pipe
OGG_TAIL = 2**16 + 300  # the longest page
LAST_PAGE = 4  # flag of a stream's last page


def content_of(path: str | Path) -> str:
    """The format that a file's first bytes show, as in `CONTENT`; "" if they show none."""
    with open(path, "rb") as file:
        head = file.read(16)
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "AIFF"
    if head[4:8] == b"ftyp":
        return "MP4"
    for magic, name in ((b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"NIST_1A", "NIST"), (b"ID3", "MP3")):
        if head.startswith(magic):
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # sync word with layer 0: ADTS
        return "AAC"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "MP3"
    return ""


def cut_off(path: str | Path, content: str) -> str:
    """What shows that a file ends too early, in words, or "": for WAV, Ogg and MP4, whose decoders may not notice."""
    check = {"WAV": _cut_off_wav, "Ogg": _cut_off_ogg, "MP4": _cut_off_mp4}.get(content)
    return check(path) if check else ""


def _cut_off_wav(path: str | Path) -> str:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        magic = file.read(12)[:4]
        if magic != b"RIFF":  # RF64's sizes lie elsewhere
            return ""
        while len(header := file.read(8)) == 8:
            name, length = header[:4], struct.unpack("<I", header[4:])[0]
            if name == b"data":
                held = size - file.tell()
                missing = 0 if length in OPEN_ENDED else length - held
                return f"{held} of {length} bytes of samples are there" if missing > 0 else ""
            file.seek(length + length % 2, os.SEEK_CUR)
    return "ends before its samples"


def _cut_off_ogg(path: str | Path) -> str:
    """The last page must be whole and say that it is the last."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - OGG_TAIL))
        tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27:
        return "ends within a page"
    sizes = page[27 : 27 + page[26]]
    if len(page) < 27 + page[26] + sum(sizes):
        return "ends within a page"
    return "" if page[5] & LAST_PAGE else "its last page is missing"


def _cut_off_mp4(path: str | Path) -> str:
    """Every box must end within the file."""
    size, place = os.path.getsize(path), 0
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:  # the size stands behind the name
                length = int.from_bytes(header[8:], "big")
            if length == 0:  # to the end of the file
                return ""
            if length < 8 or place + length > size:
                return f"ends {place + length - size} bytes before its last part does" if length >= 8 else "is damaged"
            place += length
    return ""
