"""MP4 files by hand, whose tables claim what they like."""

import struct

AAC = bytes.fromhex("0319000100041140150000000000000000000000050214 08060102".replace(" ", ""))  # 16 kHz, mono
MATRIX = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return words(8 + len(content)) + kind + content


def full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, words(flags), *parts)


def track(
    packets: int = 10,
    step: int = 1024,
    in_a_chunk: int | None = None,
    chunks: int = 1,
    edits: int = 0,
    kind: bytes = b"mp4a",
) -> bytes:
    """A `trak` of ten seconds.

    Args:
        packets: that it claims.
        step: samples in each.
        in_a_chunk: packets; None is all.
        chunks: of them.
        edits: rows of its edit list, each of all packets.
        kind: of its samples, `mp4a` or `sowt`.
    """
    head = full(b"tkhd", words(0, 0, 1, 0, 10_000, 0, 0), words(0, 0, 0x01000000, *MATRIX, 0, 0), flags=7)
    media = full(b"mdhd", words(0, 0, 16000, 160_000), words(0x55C40000))
    entry = box(kind, words(0), words(1), words(0, 0), words(0x00010010, 0, 16000 << 16), full(b"esds", AAC))
    tables = (
        full(b"stsd", words(1), entry),
        full(b"stts", words(1, packets, step)),
        full(b"stsc", words(1, 1, packets if in_a_chunk is None else in_a_chunk, 1)),
        full(b"stsz", words(2, packets)),
        full(b"stco", words(chunks, *[1000] * chunks)),
    )
    places = box(b"dinf", full(b"dref", words(1), full(b"url ", flags=1)))
    information = box(b"minf", full(b"smhd", words(0)), places, box(b"stbl", *tables))
    handler = full(b"hdlr", words(0), b"soun", words(0, 0, 0), b"\0")
    edit = box(b"edts", full(b"elst", words(edits), words(10_000, 0, 0x10000) * edits)) if edits else b""
    return box(b"trak", head, edit, box(b"mdia", media, handler, information))


def movie(*parts: bytes, after: bytes = b"") -> bytes:
    """A file of tracks and what else its `moov` holds, and boxes after that."""
    head = full(b"mvhd", words(0, 0, 1000, 10_000, 0x10000, 0x01000000, 0, 0, *MATRIX, *[0] * 6, 2))
    start = box(b"ftyp", b"M4A \0\0\0\0M4A isom")
    return start + box(b"moov", head, *parts) + after + box(b"mdat", bytes(1000))


def fragment(packets: int) -> bytes:
    """A `moof` whose one run claims so many packets in no bytes."""
    run = full(b"trun", words(packets))
    header = full(b"tfhd", words(1, 1024, 100), flags=0x18)
    return box(b"moof", full(b"mfhd", words(1)), box(b"traf", header, run))


def crafted() -> dict[str, bytes]:
    """Files of a few kilobytes that make FFmpeg take gigabytes, by what is wrong with them."""
    extends = box(b"mvex", full(b"trex", words(1, 1, 1024, 100, 0)))
    many = track(80_000_000)
    return {
        "packets": movie(many),
        "tracks": movie(*[track(2_000_000) for _ in range(20)]),
        "edits": movie(track(30_000, edits=3000)),
        "fragments": movie(track(), extends, after=fragment(80_000_000)),
        "chunks": movie(track(2**31, 1, 2**31, 1000, kind=b"sowt")),
        "hidden": movie(track(), box(b"udta", many)),
        "hidden in tags": movie(track(), box(b"udta", full(b"meta", full(b"hdlr", words(0)), box(b"ilst", many)))),
        "compressed": movie(track(), box(b"cmov", box(b"dcom", b"zlib"))),
    }
