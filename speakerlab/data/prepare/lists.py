"""A corpus's trial lists and speaker tables: copied from the tree where they lie there, else downloaded."""

import os
import shutil
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.download import Downloader
from speakerlab.data.manifest import replacing
from speakerlab.data.prepare.sources import ListFile


def copy_lists(lists: tuple[ListFile, ...], tree: Path, to: Path) -> list[ListFile]:
    """Copy to `to` the lists that it lacks and that lie in the tree, or beside it.

    Returns:
        those that are still missing.
    """
    for entry in lists:
        target, found = to / entry.to, _find(entry, tree)
        if found is not None and not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                shutil.copyfile(found, temporary)
    return missing_lists(lists, tree, to)


def missing_lists(lists: tuple[ListFile, ...], tree: Path, to: Path) -> list[ListFile]:
    """The lists that lie neither in `to` nor in the tree or beside it."""
    return [entry for entry in lists if not (to / entry.to).is_file() and _find(entry, tree) is None]


def fetch_lists(missing: list[ListFile], to: Path, downloader: Downloader, progress: Progress) -> str:
    """Download those that have an address to their places in `to`. Returns which could not be had, and why; or ""."""
    wanted, _failure = [entry for entry in missing if entry.file.urls], ""
    try:
        downloader.fetch([entry.file for entry in wanted], progress)
    except InputError as error:
        str(error)
    for entry in wanted:
        if not (downloader.folder / entry.file.name).is_file():
            continue
        (to / entry.to).parent.mkdir(parents=True, exist_ok=True)
        os.replace(downloader.folder / entry.file.name, to / entry.to)


def _find(entry: ListFile, tree: Path) -> Path | None:
    return next((path for path in _candidates(entry, tree) if path.is_file()), None)


def _candidates(entry: ListFile, tree: Path) -> list[Path]:
    """Where a list may lie: people keep them in the tree, in `meta` or `trials`, or beside `wav`."""
    parts = Path(entry.inside).parts
    inside = [tree.joinpath(*parts[start:]) for start in range(len(parts))]
    folders = [base / below for base in (tree, tree.parent) for below in ("", "meta", "trials")]
    return inside + [folder / entry.file.name for folder in folders] + [tree / entry.to, tree.parent / entry.to]
