"""The stages that bring a corpus's tree and its lists: download and unpack."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.download import Downloader
from speakerlab.data.journal import Journal
from speakerlab.data.prepare.extract import extract
from speakerlab.data.prepare.lists import copy_lists, fetch_lists
from speakerlab.data.prepare.options import Options
from speakerlab.data.prepare.sources import Archive, Sources

log = logging.getLogger("speakerlab")
Bars = Callable[[str, str], AbstractContextManager[Progress]]  # (what is done, unit) -> a progress bar


def get_tree(sources: Sources, options: Options, bars: Bars) -> list[str]:
    """Bring the lists and, unless there is a tree, the corpus. Returns the names of lists that are not there."""
    downloads = options.to / "downloads"
    downloader = Downloader(downloads, Journal(options.state / "md5.jsonl"), options.login, options.connections)
    missing = copy_lists(sources.lists, options.root, options.to)
    if options.tree is None or options.fetch_lists:
        with bars("download lists", "bytes") as progress:
            failure = fetch_lists(missing, options.to, downloader, progress)
        if failure and options.tree is not None:  # nothing else was asked for
            raise InputError(failure)
        if failure:
            log.warning(f"{failure}; going on without")
    if options.tree is None:
        unpack(sources, options, downloader, bars)
    return [entry.file.name for entry in copy_lists(sources.lists, options.root, options.to)]


def to_unpack(sources: Sources, options: Options) -> list[Archive]:
    """The archives that are not unpacked yet."""
    done = Journal(options.state / "extracted.jsonl")
    return [archive for archive in sources.archives if done.get(archive.name) != _identity(archive)]


def unpack(sources: Sources, options: Options, downloader: Downloader, bars: Bars) -> None:
    """Download and unpack what is left; an archive that was unpacked once is not asked for again."""
    left = to_unpack(sources, options)
    with bars("download", "bytes") as progress:
        downloader.fetch([part for archive in left for part in archive.parts], progress)
    done = Journal(options.state / "extracted.jsonl")
    for archive in left:
        parts = [downloader.folder / part.name for part in archive.parts]
        with bars(f"unpack {archive.name}", "bytes") as progress:
            extract(parts, options.root / archive.into, options.workers, progress)
        done.add(archive.name, *_identity(archive))
    if options.remove_parts:
        for archive in sources.archives:
            for part in archive.parts:
                (downloader.folder / part.name).unlink(missing_ok=True)


def _identity(archive: Archive) -> list[str | None]:
    return [archive.into, *(part.md5 for part in archive.parts)]
