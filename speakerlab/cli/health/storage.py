"""Where things are kept: free space, whether the places can be written, what lies in the cache, model and gallery."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.chosen_model import VARIABLE
from speakerlab.cli.health.finding import BROKEN, DOUBTFUL, GOOD, Finding
from speakerlab.inference.gallery import Gallery, default_gallery
from speakerlab.inference.gallery_file import read_origin

NEEDED, COMFORTABLE = 100e6, 5e9  # bytes that are free
ENOUGH_SHARED = 1e9
ENOUGH_FILES = 1024  # open at once
COUNTED_SECONDS = 5.0  # of adding up a cache


def look() -> list[Finding]:
    """Disks, cache, shared memory, open files, the usual model and gallery."""
    cache = Path(os.environ.get("SPEAKERLAB_CACHE") or "~/.cache/speakerlab").expanduser()
    return [
        place("this folder", Path.cwd(), "outputs/ would lie here: go to another folder"),
        place("cache", cache, "set SPEAKERLAB_CACHE to a folder elsewhere", contents(cache)),
        place("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder elsewhere"),
        *shared_memory(Path("/dev/shm")),
        *open_files(),
        model(os.environ.get(VARIABLE)),
        gallery(default_gallery().absolute()),
    ]


def place(name: str, path: Path, mend: str, more: str = "") -> Finding:
    """Whether a folder, or where it would be made, can be written and has room."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{path}, {free / 1e9:,.1f} GB free{more}"
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(1 << 16))
            file.flush()
    except OSError as error:
        return Finding("storage", name, BROKEN, f"{path} can't be written ({error.strerror})", mend)
    if free < COMFORTABLE:
        return Finding("storage", name, BROKEN if free < NEEDED else DOUBTFUL, text, f"make room, or {mend}")
    return Finding("storage", name, GOOD, text)


def contents(folder: Path) -> str:
    """`, holds 1.2 GB`; at least that, where there is more than is quickly counted."""
    size, until, whole = 0, time.monotonic() + COUNTED_SECONDS, True
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(base, name)).st_size
            except OSError:  # just gone
                continue
        if time.monotonic() > until:
            whole = False
            break
    if not size:
        return ", empty"
    return f", holds {'' if whole else 'more than '}{size / 1e9:,.1f} GB"


def shared_memory(path: Path) -> list[Finding]:
    """Through which data workers hand over batches; nothing where the system has none."""
    if not path.is_dir():
        return []
    total = shutil.disk_usage(path).total
    text = f"{total / 1e9:,.2f} GB"
    if total < ENOUGH_SHARED:
        mend = "data workers may die with a bus error: docker run --shm-size=8g, or loader.num_workers=0"
        return [Finding("storage", "shared memory", DOUBTFUL, text, mend)]
    return [Finding("storage", "shared memory", GOOD, text)]


def open_files() -> list[Finding]:
    """How many files a process may have open; nothing where the system does not say."""
    try:
        import resource
    except ImportError:
        return []
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= ENOUGH_FILES:
        return []
    return [Finding("storage", "open files", DOUBTFUL, f"at most {limit}", f"ulimit -n {4 * ENOUGH_FILES}")]


def model(source: str | None) -> Finding:
    """Whether what the environment names is there; it is not loaded."""
    if not source:
        return Finding("use", VARIABLE, GOOD, "not set: commands need --model, or a gallery that knows its model")
    if source.lower().startswith(("http://", "https://")) or Path(source).expanduser().exists():
        return Finding("use", VARIABLE, GOOD, source)
    return Finding("use", VARIABLE, BROKEN, f"{source}: there is no such file", "set it anew, or unset it")


def gallery(path: Path) -> Finding:
    """Who is enrolled, whether the file is whole and its model where it was."""
    try:
        origin = read_origin(path)
        if origin is None:
            return Finding("use", "gallery", GOOD, f"{path}: nobody is enrolled yet")
        opened = Gallery.at(path)
        opened.centroids()  # all that is in it
        speakers = opened.speakers()
    except InputError as error:
        return Finding("use", "gallery", BROKEN, str(error), "see there, or set SPEAKERLAB_GALLERY")
    text = f"{path}: {len(speakers):,} enrolled"
    if origin.model and not Path(origin.model).exists():
        mend = "give --model, or set SPEAKERLAB_MODEL"
        return Finding("use", "gallery", DOUBTFUL, f"{text}; its model is not at {origin.model} any more", mend)
    return Finding("use", "gallery", GOOD, text)
