"""Audio files: what the header says, and samples as float32.

WAV, FLAC, Ogg, Opus and MP3 go through libsndfile, which seeks, except that plain mono WAV is read straight; AAC
(.m4a, .mp4, .aac), what browsers and telephones record (.webm, .amr ...) and other containers go through PyAV, which
carries its own FFmpeg libraries, so that no system program is needed.
"""

import io
import math
import mmap
import os
import stat
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from speakerlab import InputError
from speakerlab.data.mp4 import Mp4Error, check_tables, is_mp4
from speakerlab.data.wav import from_pcm16, read_pcm16

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".m4a", ".mp3", ".mp4", ".aac", ".aiff", ".aif", ".sph")
PYAV_SUFFIXES = (".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".wma", ".amr")
# FFmpeg goes by the content, and some contents name other files and addresses to open (playlists, ffconcat).
DEMUXERS = "aac,mp3,wav,flac,ogg,matroska,asf,amr,aiff,caf"  # and "mov" for what has been looked through
AAC_PACKET = 1024  # samples; containers round a duration up to packets, or to milliseconds
AAC_PREROLL = 2 * AAC_PACKET  # a packet overlaps its neighbour, so that decoding must start before the first sample
# An MP3 frame needs bits of up to 10 frames before it (1152 samples each at most); libsndfile seeks to it straight and
# decodes rubbish for the first 4,700 samples (measured at 16 kHz).
MP3_PREROLL = 12 * 1152
UNKNOWN_LENGTH = 2**62  # libsndfile gives the largest integer for a stream whose header leaves its length open
CANNOT_OPEN = "can't be opened"  # a reason that may vanish while the file stays as it is
SHORTEST_SECONDS = 0.1  # of what is embedded
MAX_PEAK = 8.0  # lossy codecs overshoot 1.0 a little; beyond this, a float file is on another scale


class AudioInfo(NamedTuple):
    """What a header says; `samples` are per channel, at the file's own `sample_rate` in hertz."""

    sample_rate: int
    samples: int
    channels: int


@dataclass(frozen=True, eq=False)
class AudioBytes:
    """An audio file in memory, as a shard holds it; `name` says which one and, by its suffix, in which format."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


Source = str | Path | AudioBytes


class AudioError(InputError):
    """An audio file that can't be used; the message is one line, `path: reason`.

    Args:
        path: the file, or what stands for it; also an attribute, as text.
        reason: what is wrong with it; also an attribute. Left out, `path` is the whole message: so torch raises anew
            what a data worker raised.
    """

    def __init__(self, path: Source, reason: str = ""):
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}" if reason else self.path)


def probe(path: Source) -> AudioInfo:
    """Read the header alone (raw .aac has none: its packets are counted, not decoded).

    Raises:
        AudioError: if the file is missing, empty, no audio, or states no length.
    """
    if _is_pyav(path):
        return _probe_pyav(path)
    with _open_soundfile(path) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def read_audio(
    path: Source, first: int = 0, count: int | None = None, sample_rate: int = 16000, speed: float = 1.0
) -> np.ndarray:
    """Decode a part of a file to mono: channels are averaged, other rates resampled by soxr.

    Args:
        path: the file, on the disk or in memory.
        first: first sample to read, counted at the FILE's own rate.
        count: samples to read, at the FILE's own rate; None reads to the end.
        sample_rate: of the result, in hertz.
        speed: how much faster it is played, tempo and pitch together, in the same resampling.

    A part equals the same part of the whole file to the bit in lossless formats, nearly in lossy ones; in the last
    page of an Ogg Vorbis file libsndfile seeks up to some 400 samples too far.

    Returns:
        `(samples,)` float32 in [-1, 1]; `count` samples where the file has `sample_rate` and speed is 1, otherwise
        `count * sample_rate / played_rate(file rate, speed)`, rounded.

    Raises:
        ValueError: if `first` or `count` is out of range whatever the file.
        AudioError: if the file is unreadable, ends before the last sample asked for, or holds NaN or infinity.
    """
    if first < 0 or (count is not None and count < 1):
        raise ValueError(f"first={first} must be at least 0 and count={count} at least 1, or None for the rest")
    on_disk = not isinstance(path, AudioBytes)
    plain = read_pcm16(path, first, count) if on_disk and str(path).lower().endswith(".wav") else None
    if plain is not None:
        samples, rate = plain
        return play(from_pcm16(samples), rate, sample_rate, speed)
    samples, rate = (_read_pyav if _is_pyav(path) else _read_soundfile)(path, first, count)
    return play(check_values(samples, path), rate, sample_rate, speed)


def played_rate(sample_rate: int, speed: float) -> int:
    """The rate in hertz at which a recording of `sample_rate` runs `speed` times as fast.

    A whole number, since 16000 * 1.1 is no exact number of hertz as a float and the count of resampled samples hangs on
    it; speed is off by 1 in 16,000 at most at 8 kHz.

    >>> played_rate(16000, 1.1)
    17600
    """
    return round(sample_rate * speed)


def play(samples: np.ndarray, rate: int, sample_rate: int, speed: float) -> np.ndarray:
    """`(samples,)` float32 in [-1, 1] at `rate`, as it sounds at `speed`, at `sample_rate`; see `read_audio`."""
    rate = played_rate(rate, speed)
    if rate == sample_rate:
        return samples
    import soxr

    samples = soxr.resample(samples, rate, sample_rate)
    return np.clip(samples, -1.0, 1.0, out=samples)  # a steep filter overshoots


def _is_pyav(path: Source) -> bool:
    return str(path).lower().endswith(PYAV_SUFFIXES)


def _openable(path: Source) -> str | io.BytesIO:
    """What the decoding libraries open."""
    if isinstance(path, AudioBytes):
        return io.BytesIO(path.data)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:  # which would escape from within them
        raise AudioError(path, "its name is no UTF-8; rename it") from error
    return os.fspath(path)


def _open_soundfile(path: Source) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(_openable(path))
    except soundfile.SoundFileError as error:
        _check_present(path)
        raise AudioError(path, f"not readable as audio ({_reason(error)})") from error
    except TypeError as error:  # soundfile wants the rate of headerless .raw, .vox ... in its constructor
        raise AudioError(path, "headerless audio can't be read; convert it to .wav or .flac") from error
    if file.frames >= UNKNOWN_LENGTH:
        file.close()
        raise AudioError(path, "its header does not state a length; write the file anew (as .flac or .wav)")
    return file


def _read_soundfile(path: Source, first: int, count: int | None) -> tuple[np.ndarray, int]:
    with _open_soundfile(path) as file:
        wanted = _wanted(path, first, count, file.frames)
        try:
            preroll = min(first, MP3_PREROLL) if file.format == "MP3" else 0
            file.seek(first - preroll)
            samples = file.read(preroll + wanted, dtype="float32", always_2d=True)[preroll:]  # (samples, channels)
        except soundfile.SoundFileError as error:
            raise AudioError(path, f"damaged or cut off ({_reason(error)})") from error
        if len(samples) < wanted:
            raise AudioError(path, f"cut off, {len(samples)} of {wanted} samples from sample {first} could be read")
        mono = samples[:, 0] if file.channels == 1 else samples.mean(axis=1)
        return mono, file.samplerate


def _probe_pyav(path: Source) -> AudioInfo:
    container, stream = _open_pyav(path)
    with container:
        return AudioInfo(stream.rate, _length_pyav(path, container, stream), stream.channels)


def _open_pyav(path: Source):
    """The opened container and its first audio stream; the caller closes the container."""
    import av

    _check_present(path)
    demuxers = "mov" if _checked_mp4(path) else DEMUXERS
    try:
        # Tags may be in any encoding; nobody reads them here.
        options = {"format_whitelist": demuxers, "protocol_whitelist": "file"}
        container = av.open(_openable(path), options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        reason = "Format not recognised" if isinstance(error, av.error.ArgumentError) else error.strerror
        raise AudioError(path, f"not readable as audio ({reason})") from error
    if not container.streams.audio:
        container.close()
        raise AudioError(path, "holds no audio stream")
    stream = container.streams.audio[0]
    if not stream.rate:
        container.close()
        raise AudioError(path, "not readable as audio (no sample rate)")
    return container, stream


def _checked_mp4(path: Source) -> bool:
    """Whether it is an MP4 file, whose tables claim no more than they may."""
    try:
        with nullcontext(path.data) if isinstance(path, AudioBytes) else _mapped(path) as data:
            found = is_mp4(data)
            if found:
                check_tables(data)
    except Mp4Error as error:
        raise AudioError(path, f"damaged ({error})") from error
    except (OSError, ValueError) as error:  # no rights; a pipe
        raise AudioError(path, f"{CANNOT_OPEN} ({getattr(error, 'strerror', None) or error})") from error
    return found


def _mapped(path: str | Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _length_pyav(path: Source, container, stream) -> int:
    """Samples per channel."""
    import av

    if _seekable(container, stream) and stream.duration:
        return round(stream.duration * stream.time_base * stream.rate)
    try:  # FFmpeg guesses the duration of a raw stream from its bit rate; packets are exact
        ticks = sum(packet.duration or 0 for packet in container.demux(stream))
        container.seek(0)
    except av.error.FFmpegError as error:
        raise AudioError(path, f"damaged or cut off ({error.strerror})") from error
    return round(ticks * stream.time_base * stream.rate)


def _seekable(container, stream) -> bool:
    """Raw AAC has neither an index nor time stamps to trust after a seek; Matroska and others count milliseconds, which
    are too coarse to place a frame right after the one before it."""
    return container.format.name != "aac" and stream.time_base * stream.rate <= 1


def _read_pyav(path: Source, first: int, count: int | None) -> tuple[np.ndarray, int]:
    """Frames are placed by their time stamps.

    Up to one packet may be missing at the end of the file (zeros): containers round durations up.
    """
    import av

    container, stream = _open_pyav(path)
    with container:
        rate, length = stream.rate, _length_pyav(path, container, stream)
        wanted = _wanted(path, first, count, length)
        samples = np.zeros(wanted, dtype=np.float32)
        try:
            reached = _fill(samples, first, container, stream)
        except av.error.FFmpegError as error:
            raise AudioError(path, f"damaged or cut off ({error.strerror})") from error
    if reached < min(first + wanted, length - AAC_PACKET):
        found = max(reached - first, 0)
        raise AudioError(path, f"cut off, {found} of {wanted} samples from sample {first} could be read")
    return samples, rate


def _fill(samples: np.ndarray, first: int, container, stream) -> int:
    """Decode into `samples` `(count,)`, whose sample 0 is the file's sample `first`; returns the last one's end."""
    start, seekable = stream.start_time or 0, _seekable(container, stream)
    per_tick = float(stream.time_base * stream.rate)  # samples; Fraction arithmetic in the loop would double its time
    if seekable and first > AAC_PREROLL:
        container.seek(start + int((first - AAC_PREROLL) / per_tick), stream=stream)
    reached = 0
    for frame in container.decode(stream):
        position = reached
        if seekable and frame.pts is not None:
            position = round((frame.pts - start) * per_tick)
        mono = _mono(frame)
        skip, offset = max(first - position, 0), max(position - first, 0)
        part = mono[skip : skip + max(len(samples) - offset, 0)]
        samples[offset : offset + len(part)] = part
        reached = position + len(mono)
        if reached >= first + len(samples):
            break
    return reached


def _mono(frame) -> np.ndarray:
    """A decoded PyAV frame as `(samples,)` float."""
    channels = frame.layout.nb_channels
    samples = frame.to_ndarray()  # planar (channels, samples), packed (1, samples * channels)
    samples = samples if frame.format.is_planar else samples.reshape(-1, channels).T
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    return samples[0] if channels == 1 else samples.mean(axis=0)


def _wanted(path: Source, first: int, count: int | None, samples: int) -> int:
    """How many samples to read of a file of so many, or AudioError."""
    if samples == 0:
        raise AudioError(path, "holds no samples")
    last = samples if count is None else first + count
    if not first < last <= samples:
        raise AudioError(path, f"has {samples} samples; samples {first} to {last} were asked for")
    return last - first


def check_values(samples: np.ndarray, path: Source) -> np.ndarray:
    """`samples` as float32 clipped to [-1, 1], after a check that the values are audio."""
    low, high = float(samples.min(initial=0.0)), float(samples.max(initial=0.0))  # both are NaN if one sample is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise AudioError(path, "holds NaN or infinite samples; write the file anew")
    peak = max(-low, high)
    if peak > MAX_PEAK:
        raise AudioError(path, f"samples reach {peak:g}, but float audio must lie in [-1, 1]; scale the file")
    samples = samples.astype(np.float32, copy=False)
    return np.clip(samples, -1.0, 1.0) if peak > 1.0 else samples


def _check_present(path: Source) -> None:
    try:
        found = None if isinstance(path, AudioBytes) else os.stat(path)
    except OSError as error:
        raise AudioError(path, f"{CANNOT_OPEN} ({error.strerror})") from error
    except ValueError as error:  # a zero character
        raise AudioError(repr(str(path)), f"{CANNOT_OPEN} (no file can be called so)") from error
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise AudioError(path, "is a folder, not an audio file")
    if (len(path.data) if found is None else found.st_size) == 0:
        raise AudioError(path, "is empty (0 bytes)")


def _reason(error: soundfile.SoundFileError) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return text.removeprefix("Error : ").rstrip(". ")
