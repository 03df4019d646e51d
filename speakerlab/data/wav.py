"""Straight reads of the plainest audio: mono 16-bit PCM, in RIFF/WAVE files.

libsndfile takes some 100 microseconds to open such a file and read a crop of 2 s; this takes 15.
"""

import os
import struct
from pathlib import Path

import numpy as np

HEADER_BYTES = 1024  # the samples start within it, unless somebody has put a long comment before them
PLAIN = struct.Struct("<HHIIHH")  # the fmt chunk: format, channels, rate, bytes a second, bytes a frame, bits
MONO_PCM16 = (1, 1, 2, 16)  # of these: format, channels, bytes a frame, bits
STEP = np.float32(2.0**-15)


def from_pcm16(samples: np.ndarray) -> np.ndarray:
    """`(samples,)` int16 as float32 in [-1, 1), exact.

    >>> from_pcm16(np.array([-32768, 16384], np.int16))
    array([-1. ,  0.5], dtype=float32)
    """
    converted = samples.astype(np.float32)
    converted *= STEP  # in place: a product of int16 and float32 is converted in small pieces, which takes longer
    return converted


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """`(samples,)` float in [-1, 1] as int16, rounded; `from_pcm16` undone to the bit.

    >>> to_pcm16(np.array([-1.0, 0.5, 1.0], np.float32))
    array([-32768,  16384,  32767], dtype=int16)
    """
    return np.clip(np.rint(samples / STEP), -32768, 32767).astype("<i2")


def read_pcm16(path: str | Path, first: int, count: int | None) -> tuple[np.ndarray, int] | None:
    """A part of a mono 16-bit WAV file: `(samples,)` int16, to the end if `count` is None, and the sample rate.

    None if the file is anything else, has fewer samples, or can't be read: a full reader knows what to make of it.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        layout = _layout(os.pread(file, HEADER_BYTES, 0))
        if layout is None:
            return None
        start, samples, rate = layout
        if count is None:
            count = samples - first
            if start + 2 * samples > os.fstat(file).st_size:  # cut off, or a stream whose length was never filled in
                return None
        if count < 1 or first + count > samples:
            return None
        content = os.pread(file, 2 * count, start + 2 * first)
    except OSError:
        return None
    finally:
        os.close(file)
    return (np.frombuffer(content, "<i2"), rate) if len(content) == 2 * count else None


def _layout(header: bytes) -> tuple[int, int, int] | None:
    """Where the samples start, how many there are, and their rate; None unless the file is mono 16-bit PCM."""
    if header[:4] != b"RIFF" or header[8:12] != b"WAVE":
        return None
    position, rate = 12, None
    while position + 8 <= len(header):
        name, size = header[position : position + 4], int.from_bytes(header[position + 4 : position + 8], "little")
        position += 8
        if name == b"data":
            return (position, size // 2, rate) if rate else None
        if name == b"fmt ":
            if size < PLAIN.size or position + PLAIN.size > len(header):
                return None
            kind, channels, rate, _, frame, bits = PLAIN.unpack_from(header, position)
            if (kind, channels, frame, bits) != MONO_PCM16:
                return None
        position += size + size % 2  # chunks start at even places
    return None
