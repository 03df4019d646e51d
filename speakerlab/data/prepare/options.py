"""What the user of `prepare` chose, and where things lie in the folder that it fills."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from speakerlab import InputError
from speakerlab.data.download import Login
from speakerlab.data.manifest import STATE
from speakerlab.data.tree import checked_folder


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Args:
        to: the folder to fill.
        tree: a tree on disk, which is only read; None downloads.
        audio_format: "flac", "wav", "opus", or None to leave the audio as it is.
        workers: processes that decode, and threads that unpack.
        connections: downloads at a time.
        login: name and password for the download host.
        fetch_lists: download the lists that a tree on disk lacks.
        remove_parts: remove archives once they are unpacked.
        remove_extracted: remove unpacked files once they are converted and found good.
    """

    to: Path
    tree: Path | None
    audio_format: str | None
    workers: int
    connections: int
    login: Login | None
    fetch_lists: bool
    remove_parts: bool
    remove_extracted: bool

    @property
    def root(self) -> Path:
        """The folder of the corpus's tree as it came."""
        return self.tree or self.to / "extracted"

    @property
    def state(self) -> Path:
        return self.to / STATE


def checked(options: Options) -> Options:
    """The options with absolute folders.

    Raises:
        InputError: if the tree is not there, or the folders lie in one another.
    """
    to = Path(os.path.abspath(options.to.expanduser()))
    if to.exists() and not to.is_dir():
        raise InputError(f"--to {to}: is a file; give a folder")
    if options.tree is None:
        return replace(options, to=to)
    tree = checked_folder(options.tree)
    if to == tree or to.is_relative_to(tree) or tree.is_relative_to(to):
        raise InputError(f"--to {to} and --from {tree} lie in one another; give a folder beside the tree")
    return replace(options, to=to, tree=tree)
