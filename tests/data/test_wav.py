"""Straight reads against libsndfile's, on files as other programs write them."""

import struct
import tracemalloc

import numpy as np
import pytest
import soundfile

from speakerlab.data.wav import from_pcm16, read_pcm16, to_pcm16


@pytest.fixture
def noise() -> np.ndarray:
    """Every int16 value once, shuffled."""
    return np.random.default_rng(0).permutation(np.arange(-32768, 32768)).astype(np.int16)


def riff(samples: np.ndarray, fmt: bytes, before: bytes = b"", after: bytes = b"", size: int | None = None) -> bytes:
    """A WAV file with these chunks around its data; `size` is what the header claims of them."""
    data = samples.astype("<i2").tobytes()
    size = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + before + b"data" + struct.pack("<I", size) + data + after
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


PLAIN = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
COMMENT = b"LIST" + struct.pack("<I", 5) + b"INFOx" + b"\0"  # an odd size is padded


@pytest.mark.parametrize(
    "layout",
    [
        {"fmt": PLAIN},
        {"fmt": PLAIN + b"\0\0"},  # with the length of an extension, which is empty
        {"fmt": PLAIN, "before": COMMENT, "after": COMMENT},
    ],
)
def test_parts_equal_libsndfiles(tmp_path, noise, layout):
    (tmp_path / "a.wav").write_bytes(riff(noise, **layout))
    expected, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    np.testing.assert_array_equal(expected, noise)
    for first, count in [(0, None), (0, 65536), (65535, 1), (12345, 1000), (65000, None)]:
        samples, found = read_pcm16(tmp_path / "a.wav", first, count)
        np.testing.assert_array_equal(samples, expected[first:][:count])
        assert found == rate == 16000


def test_floats_are_libsndfiles(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    floats = from_pcm16(noise)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, expected)
    np.testing.assert_array_equal(to_pcm16(floats), noise)


def test_rounding_and_the_ends_of_the_range():
    """Half a step goes to the even neighbour, 1.0 has none above it."""
    steps = np.array([0.5, 1.5, -0.5, 0.6, 40000.0, -40000.0], np.float32)
    assert to_pcm16(steps / 32768).tolist() == [0, 2, 0, 1, 32767, -32768]


@pytest.mark.parametrize(
    "fmt",
    [
        struct.pack("<HHIIHH", 1, 2, 16000, 64000, 4, 16),  # stereo
        struct.pack("<HHIIHH", 1, 1, 16000, 16000, 1, 8),
        struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32),  # float
        struct.pack("<HHIIHH", 6, 1, 8000, 8000, 1, 8),  # A-law
        struct.pack("<HHIIHH", 1, 1, 0, 0, 2, 16),  # no rate
        struct.pack("<HHIIHHHHI16s", 65534, 1, 16000, 32000, 2, 16, 22, 16, 4, b"\1" + bytes(15)),  # extensible
        PLAIN[:10],
    ],
)
def test_other_encodings_are_left_to_libsndfile(tmp_path, noise, fmt):
    (tmp_path / "a.wav").write_bytes(riff(noise, fmt))
    assert read_pcm16(tmp_path / "a.wav", 0, 100) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"fLaC" + bytes(2000),
        b"RIFX" + riff(np.zeros(9), PLAIN)[4:],
        riff(np.zeros(9), PLAIN)[:40],
        riff(np.zeros(9), PLAIN, before=b"JUNK\xff\xff\xff\xff"),
        riff(np.zeros(9), PLAIN, before=b"bext" + struct.pack("<I", 2000) + bytes(2000)),
        riff(np.zeros(100), PLAIN, size=0),
        riff(np.zeros(100), PLAIN)[:-2],  # cut off by a sample
        riff(np.zeros(99), PLAIN, size=2**32 - 1),  # a stream whose length nobody filled in
    ],
)
def test_what_is_damaged_or_odd_is_left_to_libsndfile(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    for first, count in [(0, 100), (0, None), (99, 1)]:
        assert read_pcm16(tmp_path / "a.wav", first, count) is None


def test_a_length_that_nobody_filled_in_takes_no_memory(tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(np.zeros(99), PLAIN, size=2**32 - 1))
    tracemalloc.start()
    try:
        assert read_pcm16(tmp_path / "a.wav", 0, None) is None
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_left_to_libsndfile(tmp_path):
    assert read_pcm16(tmp_path / "gone.wav", 0, None) is None
    assert read_pcm16(tmp_path, 0, None) is None


def test_the_whole_of_a_file_can_be_claimed_but_no_more(tmp_path, noise):
    (tmp_path / "a.wav").write_bytes(riff(noise[:100], PLAIN, after=bytes(1000)))
    assert len(read_pcm16(tmp_path / "a.wav", 99, 1)[0]) == 1
    assert read_pcm16(tmp_path / "a.wav", 99, 2) is None
    assert read_pcm16(tmp_path / "a.wav", 100, None) is None
