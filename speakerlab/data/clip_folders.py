"""The folders of noise, music and the like that augmentations choose from."""

from collections.abc import Callable
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.headers import read_headers

Clip = tuple[str, int, int]  # path, samples, sample rate
ClipFinder = Callable[[str, str], tuple[list[Clip], str]]  # (folder, config key) -> the files in it, a line about them


def clips_below(
    folder: str, key: str, cache_dir: str | Path, progress: Progress | None = None
) -> tuple[list[Clip], str]:
    """The readable audio files below a folder, and a line about them.

    Args:
        folder: searched at any depth.
        key: of the augmentation, for messages.
        cache_dir: remembers what the headers say.
        progress: called with (headers read, headers to read).

    Raises:
        InputError: if there is no such folder, or no audio in it that can be read.
    """
    if not Path(folder).expanduser().is_dir():
        raise InputError(f"{key}.folder={folder}: there is no such folder")
    try:
        files = read_headers(folder, cache_dir, progress).to_pylist()
    except InputError as error:
        raise InputError(f"{key}.folder={folder}: {error}") from error
    root = Path(folder).expanduser()
    good = [file for file in files if not file["problem"] and file["samples"]]
    bad = [file for file in files if file["problem"] or not file["samples"]]
    fault = f"{bad[0]['path']}: {bad[0]['problem'] or 'is empty'}" if bad else ""
    if not good:
        raise InputError(f"{key}.folder={folder}: holds no audio" + (f" that can be read ({fault})" if bad else ""))
    clips = [(str(root / file["path"]), file["samples"], file["sample_rate"]) for file in good]
    note = f"{key}: {len(good):,} files in {folder}"
    return clips, note + (f"; {len(bad):,} more can't be read (such as {fault})" if bad else "")


def assumed_clips(folder: str, key: str) -> tuple[list[Clip], str]:
    """Stands in for `clips_below` where only the arguments are to be checked: the folder must be there, no more."""
    if not Path(folder).expanduser().is_dir():
        raise InputError(f"{key}.folder={folder}: there is no such folder")
    return [(folder, 1, 1)] * 1000, ""
