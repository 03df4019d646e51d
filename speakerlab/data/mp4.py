"""What the tables of an MP4 file claim, told before FFmpeg believes them.

FFmpeg makes an entry of 36 bytes for each packet that a table claims as it opens the file, and a table can claim
billions in a few bytes: a file of 1 kB takes gigabytes and a minute. So the boxes are walked first, as FFmpeg does.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Bytes = bytes | mmap.mmap

FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # boxes that a file begins with
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf")
SKIPPED = (b"mdat", b"free", b"skip", b"wide")
# The last holds a compressed `moov`, and belongs nowhere.
TABLES = (b"stsz", b"stz2", b"stts", b"ctts", b"stsc", b"stco", b"co64", b"elst", b"trun", b"cmov")
WIDTHS = {b"stsc": 12, b"stco": 4, b"co64": 8}  # bytes of a row
HIDDEN = re.compile(b"|".join(TABLES))
# Names and numbers of tags: none is the name of a box that holds others.
TAG = re.compile(rb"\xa9...|\0...|covr|----|aART|desc|ldes|cprt|keyw|catg|so(?:nm|ar|al|aa|co)", re.DOTALL)
MOST_PACKETS = 4_000_000  # an hour of the shortest packets of Opus has 1.4 million
MOST_BOXES = 1_000_000
DEEPEST = 10
PCM_PACKET = 1024  # samples, which FFmpeg makes one packet of


class Mp4Error(ValueError):
    """What is wrong with a file's tables."""


class Box(NamedTuple):
    """A box: its type, and where its content begins and ends."""

    kind: bytes
    first: int
    last: int


@dataclass
class _Track:
    """What the tables of a track claim."""

    packets: int = 0
    edits: int = 1
    chunks: int = 0
    most_in_a_chunk: int = 0
    tables: dict[bytes, int] = field(default_factory=dict)  # how many there are of each
    of_one_sample: bool = True  # each packet lasts one: PCM

    def entries(self, fragments: bool) -> int:
        """That FFmpeg makes; of plain PCM one for 1024 samples of a chunk."""
        packets, plain = self.packets, not fragments and b"ctts" not in self.tables
        if plain and self.of_one_sample and self.tables.get(b"stts") == 1:
            packets = self.chunks * (self.most_in_a_chunk // PCM_PACKET + 1)
        return packets * self.edits


def is_mp4(data: Bytes) -> bool:
    """Whether it begins as MP4 and QuickTime files do; FFmpeg is to take no other for one."""
    return data[4:8] in FIRST


def check_tables(data: Bytes) -> None:
    """Look through an MP4 file.

    Raises:
        Mp4Error: if its tables claim more packets than an hour has, or lie where none belong.
    """
    walk = _Walk(data)
    walk.boxes(Box(b"", 0, len(data)), 0)
    if walk.entries + sum(track.entries(walk.fragments) for track in walk.tracks) > MOST_PACKETS:
        raise Mp4Error(f"its tables claim more than {MOST_PACKETS:,} packets")


class _Walk:
    """Goes through the boxes once."""

    def __init__(self, data: Bytes):
        self.data, self.left = data, MOST_BOXES
        self.entries, self.fragments = 0, False  # of fragments, and whether there are any
        self.tracks: list[_Track] = []

    def boxes(self, parent: Box, depth: int) -> None:
        if depth > DEEPEST:
            raise Mp4Error("its boxes lie too deep in each other")
        for box in self.children(parent):
            if box.kind in CONTAINERS:
                if box.kind == b"trak":
                    self.tracks.append(_Track())
                self.fragments |= box.kind == b"moof"
                self.boxes(box, depth + 1)
            elif box.kind in TABLES:
                self.table(box, parent.kind)
            elif box.kind not in SKIPPED:
                self.leaf(box)

    def children(self, parent: Box) -> Iterator[Box]:
        """The boxes in a box; one that is longer than it ends with it."""
        place = parent.first
        while place + 8 <= parent.last:
            self.left -= 1
            if self.left < 0:
                raise Mp4Error(f"it has over {MOST_BOXES:,} boxes")
            size, kind = struct.unpack(">I4s", self.data[place : place + 8])
            first = place + 8
            if size == 1 and first + 8 <= parent.last:
                (size,), first = struct.unpack(">Q", self.data[first : first + 8]), first + 8
            last = parent.last if size == 0 else min(place + size, parent.last)
            if last < first:  # here FFmpeg goes no further
                yield Box(b"", place, parent.last)
                return
            yield Box(kind, first, last)
            place = last

    def leaf(self, box: Box) -> None:
        """What is neither table nor container must not hold one: FFmpeg knows more containers than are listed here."""
        place = box.first
        for tag in (*self.tags(box), Box(b"", box.last, box.last)):
            if found := HIDDEN.search(self.data, place, tag.first):
                raise Mp4Error(f"it has a table ({found[0].decode()}) where none belongs")
            place = tag.last

    def tags(self, box: Box) -> Iterator[Box]:
        """Title, place, cover and the like, in which any four letters may stand: FFmpeg looks for no boxes there."""
        inner = box
        if box.kind == b"meta":  # in which FFmpeg goes by the place of `hdlr`, and QuickTime has no version before it
            start = next((at for at in (box.first, box.first + 4) if self.data[at + 4 : at + 8] == b"hdlr"), None)
            if start is None or self.data[box.first : box.first + 4] == b"hdlr":
                return
            inner = Box(box.kind, start, box.last)
        elif box.kind not in (b"udta", b"ilst"):
            return
        for child in self.children(inner):
            if box.kind != b"meta" and TAG.fullmatch(child.kind):
                yield child
            else:
                yield from self.tags(child)

    def table(self, box: Box, parent: bytes) -> None:
        """Note what a table claims."""
        kind, content = box.kind, self.data[box.first : min(box.first + 12, box.last)]
        belongs = {b"elst": b"edts", b"trun": b"traf"}.get(kind, b"stbl")
        if parent != belongs or (kind != b"trun" and not self.tracks):
            raise Mp4Error(f"it has a table ({kind.decode()}) where none belongs")
        count = int.from_bytes(content[4:8], "big")
        if len(content) < (12 if kind in (b"stsz", b"stz2") else 8) or self.rows_end(box, count) > box.last:
            raise Mp4Error(f"its table {kind.decode()} is cut off")  # FFmpeg would read on in what follows
        if kind == b"trun":
            self.entries += count
            return
        track = self.tracks[-1]
        track.tables[kind] = track.tables.get(kind, 0) + 1
        if kind in (b"stsz", b"stz2"):
            track.packets += int.from_bytes(content[8:12], "big")
        elif kind == b"elst":
            track.edits = max(track.edits, count)
        elif kind in (b"stco", b"co64"):
            track.chunks += count
        elif kind == b"stsc":
            if count > MOST_BOXES:
                raise Mp4Error(f"its table stsc has over {MOST_BOXES:,} rows")
            sizes = struct.iter_unpack(">4xI4x", self.data[box.first + 8 : self.rows_end(box, count)])
            track.most_in_a_chunk = max((size for (size,) in sizes), default=0)
        elif kind == b"stts":
            (step,) = struct.unpack(">I", self.data[box.first + 12 : box.first + 16].rjust(4, b"\0"))
            track.of_one_sample &= count == 1 and step == 1

    def rows_end(self, box: Box, count: int) -> int:
        """Where the rows of a table end whose number counts here."""
        return box.first + 8 + WIDTHS.get(box.kind, 0) * count
