"""The audio files that an augmentation chooses from, known by their headers and read only when drawn."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# (path, first sample, samples), counted at the file's own rate -> (samples,) float32 mono at the training rate.
Reader = Callable[[str, int, int], np.ndarray]


class Clip(NamedTuple):
    """A file with its length at its own sample rate in hertz."""

    path: str
    samples: int
    sample_rate: int


def check_clips(folder: str, clips: Sequence[tuple[str, int, int]]) -> tuple[Clip, ...]:
    """The clips of a folder as `Clip`s; plain tuples and lists are taken too.

    Raises:
        ValueError: if there are none, or one is empty; it names the folder or the file.

    >>> check_clips("rain", [["rain/a.wav", 100, 8000]])
    (Clip(path='rain/a.wav', samples=100, sample_rate=8000),)
    """
    if len(clips) == 0:
        raise ValueError(f"the folder {folder} holds no audio")
    checked = tuple(Clip(*clip) for clip in clips)
    for clip in checked:
        if clip.samples < 1 or clip.sample_rate < 1:
            raise ValueError(f"{clip.path}: {clip.samples} samples at {clip.sample_rate} Hz; both must be at least 1")
    return checked


def read_window(clip: Clip, read: Reader, position: float, samples: int, sample_rate: int) -> np.ndarray:
    """A window of a clip, decoding no more than it: random where the clip is long enough, else repeated end to start.

    A clip that is too short is entered at any of its samples with equal chance, so that tiling favours no part of it.

    Args:
        clip: the file.
        read: decodes to `sample_rate`; `first` and `count` are at the clip's own rate.
        position: uniform in [0, 1).
        samples: length of the window at `sample_rate`.
        sample_rate: what `read` gives, in hertz.

    Returns:
        `(samples,)` float32.

    Raises:
        ValueError: if the file decodes to nothing.
    """
    needed = -(-samples * clip.sample_rate // sample_rate)  # ceiling, at the clip's own rate
    spare = clip.samples - needed
    first = int(position * (spare + 1)) if spare > 0 else 0
    audio = read(clip.path, first, min(needed, clip.samples))
    if len(audio) == 0:
        raise ValueError(f"{clip.path}: no audio at sample {first}, though its header promises {clip.samples}")
    if spare < 0:
        audio = np.roll(audio, -int(position * len(audio)))
    # A resampler may give a sample too few or too many; np.resize repeats or cuts.
    return np.resize(audio, samples).astype(np.float32, copy=False)
