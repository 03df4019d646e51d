"""Writes a recording anew as 16 kHz mono FLAC, WAV or Ogg/Opus."""

import os
from pathlib import Path

import numpy as np
import soundfile

from speakerlab import InputError
from speakerlab.data.audio import AudioError, probe, read_audio
from speakerlab.data.prepare.examine import Facts, fault, find_problem
from speakerlab.data.wav import to_pcm16

SAMPLE_RATE = 16000
FORMATS = {"flac": ("FLAC", "PCM_16"), "wav": ("WAV", "PCM_16"), "opus": ("OGG", "OPUS")}
BLOCK = 10 * SAMPLE_RATE  # libsndfile's Ogg encoders overflow the stack on very long writes


def convert(source: str | Path, target: str | Path, audio_format: str) -> Facts:
    """Write `target` beside its place and rename it, unless the source is what is wanted already.

    Channels are averaged and other rates resampled. 16-bit sources at 16 kHz keep every bit in FLAC and WAV: samples
    are rounded here, since libsndfile reads full scale as 32768 and writes it as 32767.

    Args:
        source: any audio file.
        target: its suffix is the format's name; missing folders are made.
        audio_format: a key of `FORMATS`.

    Returns:
        what the source is, with `samples` at 16 kHz; 0 samples without a problem if nothing had to be written.

    Raises:
        InputError: if the target can't be written.
    """
    problem = find_problem(source)
    if problem is not None:
        return problem
    try:
        info = probe(source)
        if _is_wanted(source, info, audio_format):
            return Facts(0, info.sample_rate, info.channels)
        samples = read_audio(source, sample_rate=SAMPLE_RATE) if info.samples else np.zeros(0, np.float32)
    except AudioError as error:
        return fault(source, error)
    if len(samples) == 0:
        return Facts(problem="empty", detail="a header, but no samples")
    _write(samples, Path(target), audio_format)
    return Facts(len(samples), info.sample_rate, info.channels)


def temporary_of(target: Path) -> Path:
    """Where a file is written before it is renamed; the same in each run, so that a kill leaves nothing for good."""
    return target.with_name(f".{target.name}.tmp")


def _is_wanted(source: str | Path, info, audio_format: str) -> bool:
    if info.sample_rate != SAMPLE_RATE or info.channels != 1:
        return False
    try:
        with soundfile.SoundFile(source) as file:
            return (file.format, file.subtype) == FORMATS[audio_format]
    except soundfile.SoundFileError:  # AAC
        return False


def _write(samples: np.ndarray, target: Path, audio_format: str) -> None:
    """`samples` `(samples,)` in [-1, 1] at 16 kHz."""
    container, subtype = FORMATS[audio_format]
    if subtype == "PCM_16":
        samples = to_pcm16(samples)
    temporary = temporary_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(temporary, "w", SAMPLE_RATE, 1, subtype, format=container) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
        os.replace(temporary, target)
    except (OSError, soundfile.SoundFileError) as error:
        raise InputError(f"{target}: can't be written ({error}); make room or give another folder") from error
