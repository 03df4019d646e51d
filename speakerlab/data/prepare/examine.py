"""Decodes a file from end to end and says what it found; `judge` then tells whether that will do."""

import math
import os
from pathlib import Path
from typing import NamedTuple

from speakerlab.data.audio import AudioError, probe, read_audio
from speakerlab.data.prepare.containers import CONTENT, content_of, cut_off
from speakerlab.data.prepare.sources import Checks

UNREADABLE = "unreadable"  # what may pass while the file stays as it is: such files are always tried again
SILENCE = -999.0  # dB of a file of zeros


class Facts(NamedTuple):
    """What is in a file; `problem` is the kind of fault that keeps it from being used at all, or ""."""

    samples: int = 0
    sample_rate: int = 0
    channels: int = 0
    peak_db: float = SILENCE  # half the range of the mono samples, in dB of full scale: a constant offset is silence
    problem: str = ""
    detail: str = ""


def examine(path: str | Path) -> Facts:
    """Decode the whole file; never raises for what is wrong with it."""
    problem = find_problem(path)
    if problem is not None:
        return problem
    try:
        info = probe(path)
        samples = read_audio(path, sample_rate=info.sample_rate) if info.samples else []
    except AudioError as error:
        return fault(path, error)
    if len(samples) == 0:
        return Facts(problem="empty", detail="a header, but no samples")
    half_range = (float(samples.max()) - float(samples.min())) / 2
    return Facts(len(samples), info.sample_rate, info.channels, _decibels(half_range))


def find_problem(path: str | Path) -> Facts | None:
    """What can be seen without decoding: no file, no bytes, another format than the name says, a missing end."""
    suffix = os.path.splitext(path)[1].lower()
    try:
        if not os.path.isfile(path) and os.path.exists(path):
            detail = "is a folder" if os.path.isdir(path) else "is no file, but a pipe or the like"
            return Facts(problem=UNREADABLE, detail=detail)
        if os.path.getsize(path) == 0:
            return Facts(problem="zero-byte", detail="0 bytes")
        content = content_of(path)
        if content and content != CONTENT.get(suffix, content):
            return Facts(problem="wrong extension", detail=f"holds {content}, but is named {suffix}")
        missing = cut_off(path, content)
    except OSError as error:
        return Facts(problem=UNREADABLE, detail=error.strerror or str(error))
    return Facts(problem="truncated", detail=missing) if missing else None


def fault(path: str | Path, error: AudioError) -> Facts:
    """The kind of a decoder's complaint."""
    detail = error.reason
    if not os.path.exists(path):
        return Facts(problem=UNREADABLE, detail="vanished")
    if "NaN" in detail:
        kind = "NaN"
    elif "samples reach" in detail:
        kind = "out of range"
    else:
        kind = "truncated" if content_of(path) else "no audio"
    return Facts(problem=kind, detail=detail)


def judge(facts: Facts, checks: Checks, source_rate: int, source_channels: int) -> tuple[str, str] | None:
    """Why a file may not enter the manifest, as (reason, detail), or None.

    Args:
        facts: of the file that would be trained on.
        checks: the limits.
        source_rate, source_channels: of the file that it was converted from, or its own.
    """
    if facts.problem:
        return facts.problem, facts.detail
    seconds = facts.samples / facts.sample_rate
    if source_rate < checks.min_rate:
        return "low sample rate", f"{source_rate} Hz, under {checks.min_rate} Hz"
    if source_channels > 1 and checks.stereo == "reject":
        return "stereo", f"{source_channels} channels"
    if seconds < checks.min_seconds:
        return "too short", f"{seconds:.3f} s, under {checks.min_seconds:g} s"
    if facts.peak_db < checks.silence_db:
        level = "all samples are equal" if facts.peak_db == SILENCE else f"peak {facts.peak_db:.0f} dB"
        return "silent", f"{level}, under {checks.silence_db:g} dB"
    return None


def _decibels(amplitude: float) -> float:
    return round(20 * math.log10(amplitude), 2) if amplitude > 0 else SILENCE
