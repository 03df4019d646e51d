"""The utterances that a command is given: a manifest, a prepared folder, or a plain tree of recordings."""

from pathlib import Path

HELP = "a manifest, a folder that `speakerlab prepare` filled, or a tree of recordings with a folder for each speaker"


def is_tree(path: Path) -> bool:
    """Whether it is a folder that nobody has prepared."""
    from speakerlab.data.manifest import MANIFEST, STATE

    return path.is_dir() and not (path / MANIFEST).is_file() and not (path / STATE).is_dir()


def table_at(path: Path):
    """The rows of a manifest; of a plain tree, those that `data=folder` would take, and a line about them.

    Raises:
        InputError: if there is neither.
    """
    from speakerlab.cli.tables import show
    from speakerlab.data.manifest import manifest_at, read_manifest

    path = path.expanduser()
    if not is_tree(path):
        return read_manifest(manifest_at(path))
    scan = scan_trees([path])
    show(scan.summary())
    return scan.manifest


def scan_trees(folders: list[Path], max_bad_share: float | None = None):
    """A scan with the settings of `data=folder`.

    Args:
        folders: trees.
        max_bad_share: of files, that may be unusable; None takes that of `data=folder` too.
    """
    from speakerlab.cli.launch import compose
    from speakerlab.cli.progress import progress_bar
    from speakerlab.data.scan import scan_folders

    cfg, _ = compose("train", ["data=folder", "data.root=."])  # the root is ours; the rest is what training would use
    with progress_bar("headers") as progress:
        return scan_folders(
            folders,
            Path(cfg.data.cache_dir).expanduser(),
            min_seconds=cfg.data.min_seconds,
            stereo=cfg.data.stereo,
            max_bad_share=cfg.data.max_bad_share if max_bad_share is None else max_bad_share,
            progress=progress,
        )
