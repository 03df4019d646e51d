"""safetensors: a tensor `embeddings` with the names in the header, or one tensor an utterance under its name."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.manifest import replacing

TOLD = ("speakers", "splits")  # of each utterance, where known


def read(path: Path) -> Embeddings:
    """Either form; errors as in `checked`."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable safetensors file of NumPy's types ({error})") from error
    if "embeddings" not in tensors or "utterances" not in header:
        return checked(list(tensors), list(tensors.values()), str(path))
    try:
        names, *told = (json.loads(header.get(key, "null")) for key in ("utterances", *TOLD))
    except ValueError as error:
        raise InputError(f"{path}: the names in its header are no JSON") from error
    if not isinstance(names, list) or not all(isinstance(column, list | None) for column in told):
        raise InputError(f"{path}: utterances, speakers and splits in its header must be JSON lists of texts")
    return checked(names, tensors["embeddings"], str(path), *told)


def write(path: Path, embeddings: Embeddings) -> None:
    """The first form; the header's `utterances`, `speakers` and `splits` are JSON lists."""
    header = {"utterances": json.dumps(embeddings.names)}
    for column in TOLD:
        if getattr(embeddings, column) is not None:
            header[column] = json.dumps(getattr(embeddings, column))
    with replacing(path) as draft:
        save_file({"embeddings": embeddings.rows}, draft, header)
