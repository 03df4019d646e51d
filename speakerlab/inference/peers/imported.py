"""What is found in a peer's checkpoint, and what all peers' readers share."""

import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speakerlab import InputError
from speakerlab.untrusted import classes_in, is_archive

Rules = Sequence[tuple[str, str]]  # a pattern of a peer's name, and what stands for it here
OLD_PICKLES = 5  # that a file of torch before 1.6 begins with: what and whose it is, the tensors, their keys
COUNTER = "num_batches_tracked"  # of batch norms, which evaluation does not look at


@dataclass
class Imported:
    """A peer's model by this program's names.

    Attributes:
        source: the file of weights.
        architecture: in words, with an article.
        name: of the run that it becomes.
        overrides: of train.py, which compose its network and features.
        weights: of the network.
        origins: name there of each of these, where one is made of another.
        left_out: what of the file is not needed, in words.
        notes: what the file does not say and had to be assumed, in words.
        speakers: of training, in the classifier's order; none where they are unknown.
        classifier: `(speakers, embed_dim)`; None where there is none.
    """

    source: Path
    architecture: str
    name: str
    overrides: list[str]
    weights: dict[str, Tensor]
    origins: dict[str, str]
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    classifier: Tensor | None = None


def read_tensors(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; what wraps them is taken off. Read as data only.

    Raises:
        InputError: if it can't be read so, or holds anything else.
    """
    try:
        _check_cost(path)
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror or error})") from error
    except InputError:
        raise
    except Exception as error:  # torch raises half a dozen kinds for damaged files, with advice that is not for users
        raise InputError(
            f"{path} can't be read as weights: it is damaged, or holds code, which is never run"
        ) from error
    for wrapping in ("model_state_dict", "state_dict", "model"):
        if isinstance(contents, dict) and isinstance(contents.get(wrapping), dict):
            contents = contents[wrapping]
    if not isinstance(contents, dict) or not contents:
        raise InputError(f"{path} holds no tensors by name")
    others = [name for name, value in contents.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise InputError(f"{path} holds {others[0]!r}, which is no tensor: it is not a file of weights alone")
    _check_values(path, contents)
    return contents


def _check_cost(path: str | os.PathLike) -> None:
    """Refuse an archive that would be larger in memory than it is as a file; torch compresses none. And pickles of very
    many steps, which cost more than any weights."""
    with open(path, "rb") as file:
        if not is_archive(path):
            classes_in(file, f"{path}: ", OLD_PICKLES)
            return
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > Path(path).stat().st_size:
                raise InputError(f"{path} is a compressed archive, as which torch writes no weights")
            for entry in entries:
                if entry.filename.endswith("data.pkl"):
                    classes_in(archive.read(entry), f"{path}: ")


def _check_values(path: str | os.PathLike, tensors: Mapping[str, Tensor]) -> None:
    """Refuse values that are no finite numbers, or that claim to be more than the file holds."""
    if any(tensor.layout is not torch.strided for tensor in tensors.values()):
        raise InputError(f"{path} holds a sparse tensor, which no such model has")
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > sum(stored.values()):
        raise InputError(f"{path}: its tensors share their values, so that they would grow in memory")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity")


def file_in(path: Path, names: Iterable[str]) -> Path:
    """The file itself, or the first of these in a folder.

    Raises:
        InputError: if there is none.
    """
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                return path / name
        raise InputError(f"{path}: there is no {' and no '.join(names)} in this folder")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return path


def renamed(state: Mapping[str, Tensor], rules: Rules) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by the names here, and the name there of each.

    Every rule is applied to every name in turn; a name that none knows stays, and fits nothing later.

    Raises:
        InputError: if two get one name.
    """
    weights: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for theirs, tensor in state.items():
        ours = theirs
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        if ours in weights:
            raise InputError(f"the tensors {origins[ours]} and {theirs} would both be {ours} here")
        weights[ours], origins[ours] = tensor, theirs
    return weights, origins


def shape_of(state: Mapping[str, Tensor], name: str, dims: int, model: str) -> torch.Size:
    """The shape of a tensor that every such model has.

    Raises:
        InputError: if it is missing, or has another number of axes.
    """
    if name not in state:
        raise InputError(f"the file holds no {name}, which every {model} has")
    if state[name].ndim != dims:
        raise InputError(f"{name} is {shape_words(state[name])}, not of {dims} axes as in every {model}")
    return state[name].shape


def blocks_of_layers(state: Mapping[str, Tensor], model: str) -> list[int]:
    """How many blocks each of `layer1` to `layer4` has.

    Raises:
        InputError: if their numbers leave any out.
    """
    found = {match[0] for match in (re.match(r"layer\d+\.\d+(?=\.)", name) for name in state) if match}
    depths = [sum(name.startswith(f"layer{stage}.") for name in found) for stage in range(1, 5)]
    expected = {f"layer{stage}.{block}" for stage, depth in enumerate(depths, start=1) for block in range(depth)}
    if found != expected or 0 in depths:
        raise InputError(f"the blocks of layer1 to layer4 are not those of a {model}: {', '.join(sorted(found))}")
    return depths


def flat_blocks(weights: Mapping[str, Any], depths: Sequence[int], target: str) -> dict[str, Any]:
    """The entries with `layer<stage>.<block>.` as `<target>.<number>.`, counted through all stages."""
    firsts = [sum(depths[:stage]) for stage in range(len(depths))]

    def flat(name: str) -> str:
        return re.sub(
            r"^layer(\d)\.(\d+)\.", lambda found: f"{target}.{firsts[int(found[1]) - 1] + int(found[2])}.", name
        )

    return {flat(name): value for name, value in weights.items()}


def in_encoder(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The entries by the names that the encoder's parts have in the network."""
    return {f"encoder.{name}": value for name, value in weights.items()}


def split_context(weights: dict[str, Tensor], origins: dict[str, str]) -> None:
    """The attention's first layer sees [frame; mean; deviation] side by side there; here the last two once an
    utterance."""
    name = "pooling.frame_projection.weight"
    whole = weights[name]
    channels = whole.shape[1] // 3
    weights[name] = whole[:, :channels]
    weights["pooling.context_projection.weight"] = whole[:, channels:, 0]
    origins["pooling.context_projection.weight"] = origins[name]


def override(key: str, value: object) -> str:
    """An override of train.py.

    >>> override("model.encoder.depths", [3, 4]), override("norm", "mean"), override("model.encoder.se", True)
    ('model.encoder.depths=[3,4]', 'norm=mean', 'model.encoder.se=true')
    """
    if isinstance(value, bool):
        return f"{key}={str(value).lower()}"
    return f"{key}={str(list(value)).replace(' ', '')}" if isinstance(value, list | tuple) else f"{key}={value}"


def shape_words(tensor: Tensor) -> str:
    """A tensor's shape as it is written: `(3, 4)`."""
    return str(tuple(tensor.shape))
