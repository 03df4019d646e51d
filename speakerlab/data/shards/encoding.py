"""A manifest's row as the bytes of a file of its own."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from speakerlab.data.audio import CANNOT_OPEN, AudioBytes, AudioError, probe, read_audio
from speakerlab.data.wav import to_pcm16

FORMATS = ("flac", "opus", "copy")
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # hertz; other rates are raised to the next of them
OPUS_BITS = 32000  # a second
BIT_EXACT = 0x800000  # FFmpeg's flag AV_CODEC_FLAG_BITEXACT: no versions or random numbers in the stream


class Encoded(NamedTuple):
    """A file's bytes, its suffix, and where in it the row lies: as the manifest's columns of these names."""

    data: bytes
    suffix: str
    first_sample: int
    samples: int
    sample_rate: int


def encode(path: Path, first: int, samples: int, sample_rate: int, audio_format: str) -> Encoded:
    """Read a row's samples and write them anew, mono; the same row gives the same bytes.

    Args:
        path: the row's file.
        first, samples: the row's part of it, at the file's own rate.
        sample_rate: of the file, in hertz.
        audio_format: "flac" (16 bits, lossless for such sources), "opus" (32 kbit/s) or "copy" (the whole file as it
            is, of which only the header is looked at).

    Raises:
        AudioError: if it can't be read.
    """
    if audio_format == "copy":
        return _copy(path, first, samples)
    waveform = read_audio(path, first, samples, sample_rate)
    if audio_format == "flac":
        return Encoded(_flac(waveform, sample_rate), "flac", 0, samples, sample_rate)
    rate = next((rate for rate in OPUS_RATES if rate >= sample_rate), OPUS_RATES[-1])
    if rate != sample_rate:
        import soxr

        waveform = np.clip(soxr.resample(waveform, sample_rate, rate), -1.0, 1.0)
    return Encoded(_opus(waveform, rate), "opus", 0, len(waveform), rate)


def _copy(path: Path, first: int, samples: int) -> Encoded:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AudioError(path, f"{CANNOT_OPEN} ({error.strerror})") from error
    info = probe(AudioBytes(str(path), data))
    if info.samples < first + samples:
        raise AudioError(path, f"cut off, it has {info.samples} samples in place of {first + samples}")
    return Encoded(data, path.suffix.lstrip(".").lower(), first, samples, info.sample_rate)


def _flac(waveform: np.ndarray, sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, to_pcm16(waveform), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _opus(waveform: np.ndarray, sample_rate: int) -> bytes:
    """Through PyAV: libsndfile numbers its Ogg streams by chance, so that equal audio gives unequal files."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=sample_rate, layout="mono")
        stream.bit_rate = OPUS_BITS
        stream.codec_context.flags |= BIT_EXACT
        frame = av.AudioFrame.from_ndarray(to_pcm16(waveform)[None], format="s16", layout="mono")
        frame.sample_rate = sample_rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()
