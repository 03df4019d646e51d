"""From a file or an array to the waveform that a model takes, with what a listener should know about it.

Whatever a header claims, memory is bounded: what is too long is refused before it is decoded, and what has a high rate
or many channels is decoded in blocks.
"""

import math
import os
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from speakerlab import InputError
from speakerlab.data.audio import (
    SHORTEST_SECONDS,
    AudioBytes,
    AudioError,
    AudioInfo,
    check_values,
    play,
    probe,
    read_audio,
)

LONGEST_SECONDS = 3600.0
MOST_BYTES = 2 << 30  # of a file
MOST_BYTES_UNINDEXED = 256 << 20  # of raw AAC, all of which is read to learn its length
LOWEST_RATE, HIGHEST_RATE = 4000, 768_000  # hertz
MOST_CHANNELS = 64
# Over all channels: an hour of 17 channels at 48 kHz. Constant sound packs so well that some megabytes of FLAC hold
# six times as many, which take minutes to decode.
MOST_VALUES = 3_000_000_000
BLOCK = 1 << 24  # values, over all channels, that are decoded at a time
SHORT_SECONDS = 0.3
SILENCE_DB = -60.0  # below a sine at full scale
FULL_SCALE, MOST_AT_FULL_SCALE = 0.995, 0.001  # of the samples: clipped speech has more


@dataclass(frozen=True, eq=False)
class Heard:
    """A recording that can be embedded.

    Attributes:
        waveform: `(samples,)` float32 in [-1, 1], mono, at the rate asked for.
        seconds: its duration.
        notes: what may make its embedding a bad one, a line each.
    """

    waveform: np.ndarray
    seconds: float
    notes: tuple[str, ...]


def hear(audio: Any, sample_rate_of_array: int | None, sample_rate: int) -> Heard:
    """Read and judge a recording.

    Args:
        audio: a path, `AudioBytes`, or an array or tensor `(samples,)`, `(channels, samples)` or `(samples, channels)`
            of floats in [-1, 1], int16 or int32.
        sample_rate_of_array: in hertz; for an array alone.
        sample_rate: of the result.

    Raises:
        AudioError: if a file is missing, damaged, no audio, not finite, digital silence, or not of 0.1 s to an hour.
        InputError: the same of an array.
    """
    if isinstance(audio, str | os.PathLike | AudioBytes):
        if sample_rate_of_array is not None:
            raise InputError(f"{audio}: a file says its own sample rate; sample_rate= is for arrays")
        source = audio if isinstance(audio, AudioBytes) else Path(audio).expanduser()
        info = check_header(source)
        waveform, name = _decode(source, info, sample_rate), source
    else:
        waveform, info = _from_array(audio, sample_rate_of_array, sample_rate)
        name = "the array"
    if np.ptp(waveform) == 0:
        raise AudioError(name, "is digital silence: all of its samples are the same")
    seconds = len(waveform) / sample_rate
    return Heard(waveform, seconds, (*_conversions(info, sample_rate), *_faults(waveform, seconds)))


def check_header(source: Path | AudioBytes) -> AudioInfo:
    """What a file's header says, if it can be embedded; nothing is decoded.

    Raises:
        AudioError: if not.
    """
    if not isinstance(source, AudioBytes) and source.is_file():
        size, most = source.stat().st_size, MOST_BYTES_UNINDEXED if source.suffix.lower() == ".aac" else MOST_BYTES
        if size > most:
            raise AudioError(source, f"has {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB are read: cut it")
    elif not isinstance(source, AudioBytes) and source.exists() and not source.is_dir():
        raise AudioError(source, "is no regular file")  # a pipe would wait for ever
    info = probe(source)
    _check_size(source, info)
    return info


def _check_size(name: Any, info: AudioInfo) -> None:
    if not LOWEST_RATE <= info.sample_rate <= HIGHEST_RATE:
        raise AudioError(name, f"states {info.sample_rate:,} Hz; speech has {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz")
    if not 1 <= info.channels <= MOST_CHANNELS:
        raise AudioError(name, f"states {info.channels} channels; at most {MOST_CHANNELS} are read")
    seconds = info.samples / info.sample_rate
    if seconds > LONGEST_SECONDS:
        raise AudioError(name, f"states {seconds / 3600:,.1f} hours; at most {LONGEST_SECONDS / 3600:.0f} is embedded")
    if info.samples * info.channels > MOST_VALUES:
        raise AudioError(
            name,
            f"states {info.samples * info.channels / 1e9:,.1f} billion samples over its channels; at most "
            f"{MOST_VALUES / 1e9:.0f} are decoded: save one channel, at 16 kHz",
        )
    if seconds < SHORTEST_SECONDS:
        raise AudioError(name, f"is {seconds:.3f} s long; at least {SHORTEST_SECONDS} s are needed")


def _decode(source: Path | AudioBytes, info: AudioInfo, sample_rate: int) -> np.ndarray:
    """`(samples,)` at `sample_rate`."""
    if info.samples * info.channels <= BLOCK:
        return read_audio(source, sample_rate=sample_rate)
    from soxr import ResampleStream

    block, parts = BLOCK // info.channels, []
    stream = ResampleStream(info.sample_rate, sample_rate, 1, dtype="float32")
    for first in range(0, info.samples, block):
        count = min(block, info.samples - first)
        samples = read_audio(source, first, count, info.sample_rate)
        if info.sample_rate != sample_rate:
            samples = stream.resample_chunk(samples, last=first + count == info.samples)
        parts.append(samples)
    waveform = np.concatenate(parts)
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def _from_array(audio: Any, rate: int | None, sample_rate: int) -> tuple[np.ndarray, AudioInfo]:
    if hasattr(audio, "detach"):  # a tensor, which is not asked for by its class: there may be no torch
        audio = audio.detach().cpu()
        audio = audio.float().numpy() if audio.is_floating_point() else audio.numpy()
    try:
        samples = np.asarray(audio)
    except ValueError as error:  # lists of different lengths
        raise InputError("the array's rows differ in length; give (samples,) or (channels, samples)") from error
    if samples.dtype not in (np.int16, np.int32) and samples.dtype.kind != "f":
        raise InputError(f"an array of {samples.dtype} is no audio; give floats in [-1, 1], int16, int32, or a path")
    if samples.ndim not in (1, 2) or not samples.size:
        raise InputError(
            f"an array of the shape {samples.shape} is no recording; give (samples,) or (channels, samples)"
        )
    if rate is None:
        raise InputError("an array does not say its sample rate: give sample_rate= in hertz")
    if not isinstance(rate, Real) or not math.isfinite(rate):
        raise InputError(f"sample_rate={rate!r:.40} must be a number of hertz, such as 16000")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        samples = samples.T  # (channels, samples): nobody has more channels than samples
    channels = 1 if samples.ndim == 1 else len(samples)
    info = AudioInfo(int(rate), samples.shape[-1], channels)
    _check_size("the array", info)
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    samples = samples if samples.ndim == 1 else samples.mean(axis=0)
    return play(check_values(samples, "the array"), info.sample_rate, sample_rate, 1.0), info


def _conversions(info: AudioInfo, sample_rate: int) -> list[str]:
    notes = [] if info.channels == 1 else [f"{info.channels} channels were averaged"]
    if info.sample_rate != sample_rate:
        lost = "" if info.sample_rate > sample_rate else f", which leaves nothing above {info.sample_rate // 2:,} Hz"
        notes.append(f"{info.sample_rate:,} Hz were resampled to {sample_rate:,} Hz{lost}")
    return notes


def _faults(waveform: np.ndarray, seconds: float) -> list[str]:
    notes = []
    if seconds < SHORT_SECONDS:
        notes.append(f"{seconds:.2f} s are too short to tell a speaker by")
    power = float(np.dot(waveform, waveform)) / len(waveform)
    level = 10 * math.log10(max(2 * power, 1e-12))  # a sine at full scale has 0 dB
    if level < SILENCE_DB:
        notes.append(f"almost silent, {-level:.0f} dB below full scale")
    clipped = np.count_nonzero(np.abs(waveform) >= FULL_SCALE) / len(waveform)
    if clipped > MOST_AT_FULL_SCALE:
        notes.append(f"clipped: {100 * clipped:.1f} % of the samples are at full scale")
    return notes
