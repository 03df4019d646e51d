"""Which format a path means, the files of a folder, and what stands beside a file: where its embeddings come from."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from speakerlab import InputError
from speakerlab.data.embedding_files import kaldi, npy, npz, parquet, pickled, safetensors
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.manifest import replacing
from speakerlab.data.tree import make_folder

FORMATS: dict[str, ModuleType] = {
    ".npy": npy,
    ".npz": npz,
    ".parquet": parquet,
    ".ark": kaldi,
    ".scp": kaldi,
    ".safetensors": safetensors,
    ".pkl": pickled,
    ".pickle": pickled,
}
ORIGIN = ".json"
IN_FOLDER = "embeddings.npy"  # what is written to a folder


def read_embeddings(given: str, key: str = "embeddings") -> Embeddings:
    """The embeddings of a file, or of a folder that holds one of any format.

    Args:
        given: the path; `~` is expanded.
        key: of the setting that gave it, for messages.

    Raises:
        InputError: if there is none, or it can't be used.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        path = _in_folder(path, f"{key}={given}")
    elif not path.is_file():
        raise InputError(f"{key}={given}: there is no such file or folder")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{key}={given}: embeddings are read from {', '.join(FORMATS)} or a folder with one of these")
    return replace(FORMATS[path.suffix.lower()].read(path), checkpoint=_checkpoint_of(path))


def place_of(given: str, key: str = "save_embeddings") -> Path:
    """The file that embeddings are to be written to; its folder is made, so that a bad path is known before the work.

    A path without a suffix, one that ends in a slash and a folder that is there mean a folder.

    Raises:
        InputError: for a suffix that means no format, or a folder that can't be.
    """
    path = Path(given).expanduser()
    if path.is_dir() or not path.suffix or given.endswith("/"):
        return make_folder(path, key) / IN_FOLDER
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"{key}={given}: {path.suffix} is no format of embeddings; take one of {', '.join(FORMATS)}, or a folder, "
            "whose name may end in /"
        )
    make_folder(path.parent, key)
    return path


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write a file in the format of its suffix, beside its place and then renamed; and the checkpoint, if one is known,
    to `.json` beside it."""
    origin = path.with_suffix(ORIGIN)
    origin.unlink(missing_ok=True)  # first: it would name another one's checkpoint
    FORMATS[path.suffix.lower()].write(path, embeddings)
    if embeddings.checkpoint is not None:
        with replacing(origin) as draft:
            draft.write_text(json.dumps({"checkpoint": embeddings.checkpoint}) + "\n", encoding="utf-8")


def origin_of(given: str | None) -> str | None:
    """The checkpoint that gave the embeddings of a file or folder; None where nobody said, or there are none."""
    if given is None:
        return None
    path = Path(given).expanduser()
    try:
        return _checkpoint_of(_in_folder(path, given) if path.is_dir() else path)
    except InputError:
        return None


def _checkpoint_of(path: Path) -> str | None:
    """What the file beside embeddings names; None where there is none, or it is another program's."""
    try:
        origin = json.loads(path.with_suffix(ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    checkpoint = origin.get("checkpoint") if isinstance(origin, dict) else None
    return checkpoint if isinstance(checkpoint, str) else None


def _in_folder(folder: Path, given: str) -> Path:
    """The one file of embeddings in a folder; an archive that a script points into is part of it."""
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in FORMATS and not path.name.startswith(".")
    )
    scripts = [path for path in found if path.suffix == ".scp"]
    if len(scripts) == 1:
        found = [path for path in found if path.suffix != ".ark"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"{given}: this folder holds no embeddings ({', '.join(FORMATS)})")
    names = ", ".join(path.name for path in found[:5])
    raise InputError(f"{given}: this folder holds {len(found)} files of embeddings ({names}): name one of them")
