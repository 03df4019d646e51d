"""Tables of MP4 files: crafted ones are refused, and whatever FFmpeg itself writes is not."""

from contextlib import suppress

import av
import numpy as np
import pytest
from mp4_files import box, crafted, full, movie, track, words

from speakerlab.data import mp4
from speakerlab.data.audio import AudioBytes, AudioError, probe
from speakerlab.data.mp4 import Mp4Error, check_tables, is_mp4


@pytest.mark.parametrize("name", crafted())
def test_crafted_tables_are_refused_in_a_line(name, tmp_path):
    content = crafted()[name]
    assert is_mp4(content) and len(content) < 100_000
    (tmp_path / "a.m4a").write_bytes(content)
    for source in (tmp_path / "a.m4a", AudioBytes("a.m4a", content)):
        with pytest.raises(
            AudioError, match=r"a\.m4a: damaged \(its tables claim more than|\(it has a table \("
        ) as caught:
            probe(source)
        assert "\n" not in str(caught.value)


def test_boxes_are_bounded():
    with pytest.raises(Mp4Error, match="over 1,000,000 boxes"):
        check_tables(movie(after=box(b"free") * 1_000_001))
    nested = box(b"trak")
    for _ in range(2000):
        nested = box(b"trak", nested)
    with pytest.raises(Mp4Error, match="too deep"):
        check_tables(movie(nested))


def test_damage_anywhere_is_no_fault_of_the_program():
    whole, random = movie(track(edits=2)), np.random.default_rng(0)
    for length in range(0, len(whole), 7):
        with suppress(Mp4Error):
            check_tables(whole[:length])
    for _ in range(500):
        content = bytearray(whole)
        for place in random.integers(len(content), size=4):
            content[place] = random.integers(256)
        with suppress(Mp4Error):
            check_tables(bytes(content))


def write(path, codec: str, rate: int, seconds: int, options: dict[str, str]) -> None:
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        noise = np.random.default_rng(0).normal(0, 0.1, (1, seconds * rate)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            stream.format.name, "mono", rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            output.mux(stream.encode(part))


@pytest.mark.parametrize(
    "suffix, codec, rate, options",
    [
        ("m4a", "aac", 44100, {}),
        ("mp4", "aac", 16000, {"movflags": "faststart"}),
        ("mp4", "aac", 16000, {"movflags": "empty_moov+default_base_moof", "frag_duration": "100000"}),
        ("mov", "pcm_s16le", 48000, {}),
        ("mov", "alac", 48000, {}),
        ("mp4", "libopus", 48000, {}),
    ],
)
def test_what_ffmpeg_writes_is_read(suffix, codec, rate, options, tmp_path, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    write(path, codec, rate, 5, options)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = sum(packet.size > 0 for packet in container.demux())
    monkeypatch.setattr(mp4, "MOST_PACKETS", 2 * packets + 10)  # no more is claimed than there is
    check_tables(content)
    assert probe(path).sample_rate == rate
    monkeypatch.setattr(mp4, "MOST_PACKETS", packets // 2)
    with pytest.raises(Mp4Error, match="claim more than"):
        check_tables(content)


@pytest.mark.parametrize("kind", [b"stsz", b"stsc", b"stco"])
def test_a_table_ends_with_its_box(kind):
    """FFmpeg reads as many rows as are stated, wherever the box ends."""
    content = bytearray(movie(track()))
    place = content.index(kind)
    content[place - 4 : place] = words(16)  # the rest is a box of its own, if anything
    with pytest.raises(Mp4Error, match=f"its table {kind.decode()} is cut off"):
        check_tables(bytes(content))


def test_a_cover_may_hold_any_letters():
    header = full(b"hdlr", words(0, 0, 0, 0, 0))
    cover = box(b"covr", box(b"data", words(13, 0), b"\xff\xd8 stsz trun " + bytes(10)))
    check_tables(movie(track(), box(b"udta", full(b"meta", header, box(b"ilst", cover)))))
    for moved in (full(b"meta", header, cover), box(b"meta", b"hdlr", header, box(b"ilst", cover))):
        with pytest.raises(Mp4Error, match=r"has a table \(stsz\)"):  # FFmpeg reads these otherwise
            check_tables(movie(track(), box(b"udta", moved)))


def test_a_title_may_hold_the_name_of_a_table():
    """ "Strung along in Michelstadt" has two: `trun` and `elst`."""
    text = b"Strung along in Michelstadt"
    header = full(b"hdlr", words(0, 0, 0, 0, 0))
    data = box(b"data", words(1, 0), text)
    for name in (b"\xa9nam", b"----", b"\0\0\0\1"):
        check_tables(movie(track(), box(b"udta", full(b"meta", header, box(b"ilst", box(name, data))))))
        check_tables(movie(track(), full(b"meta", header, box(b"ilst", box(name, data)))))
    check_tables(movie(track(), box(b"udta", box(b"\xa9xyz", text))))
    for kind in (b"wave", b"name"):  # a container of FFmpeg's, and one that nobody vouched for
        with pytest.raises(Mp4Error, match=r"has a table \(trun\)"):
            check_tables(movie(track(), box(b"udta", box(kind, text))))
