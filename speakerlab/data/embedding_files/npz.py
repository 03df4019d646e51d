"""NumPy's `.npz`: arrays `embeddings`, `utterances`, perhaps `speakers` and `splits`; or an array an utterance, under
its name."""

import zipfile
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.manifest import replacing

NAMES = ("utterances", "names", "ids", "utts")


def read(path: Path) -> Embeddings:
    """Either form; errors as in `checked`."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise InputError(f"{path}: is a single .npy array; rename it, and write its names beside it")
        with file:
            arrays = {name: file[name] for name in file.files}
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{path}: holds Python objects, which could run code, or is damaged; save numbers, and names as text"
        ) from error
    except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from error
    key = next((name for name in NAMES if name in arrays), None)
    if "embeddings" in arrays and key is not None:
        told = [arrays[column].tolist() if column in arrays else None for column in ("speakers", "splits")]
        return checked(np.ravel(arrays[key]).tolist(), arrays["embeddings"], str(path), *told)
    return checked(list(arrays), list(arrays.values()), str(path))


def write(path: Path, embeddings: Embeddings) -> None:
    """The first form."""
    arrays = {"embeddings": embeddings.rows, "utterances": np.array(embeddings.names)}
    for column in ("speakers", "splits"):
        if getattr(embeddings, column) is not None:
            arrays[column] = np.array(getattr(embeddings, column))
    with replacing(path) as draft, open(draft, "wb") as file:
        np.savez(file, **arrays)
