"""Limits on what a checkpoint from anywhere may ask of this machine, checked before it gets it.

That it runs no code is torch's `weights_only` and the whitelist of classes; here it gets no more memory and time than a
model of its size needs.
"""

import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from speakerlab import InputError
from speakerlab.shipped import known_targets

MOST_PICKLED = 64 << 20  # bytes of all that is no tensor: the names of a million speakers are 20 MB
MOST_STEPS = 1_000_000  # of unpickling, of which a tensor takes some forty and a speaker two; each may cost 64 bytes
BYTES_OF_STEP = 64  # of the file, for each step more: over a million speakers have their class weights in it
MOST_NODES, DEEPEST = 100_000, 50  # of a config
MOST_SETTINGS = 2000  # of one part of a network
LONGEST = 10_000  # characters of a text in it
# What speakerlab's checkpoints are made of; torch would admit more, such as byte arrays of any size.
BUILT_OF = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|tensor_v3|parameter)|torch \w+Storage|"
    r"torch\.storage UntypedStorage"
)
# The largest numbers in a network's config: of features, which are made of tables of such sizes, by the setting's name
# where it may be larger than others; and of encoders.
LARGEST_OF_FEATURES = 512
LARGER = {"fft_size": 8192, "bins": 8192, "window": 16384, "target_frames": 16384, "low_hz": 1e6, "high_hz": 1e6}
LARGEST_OF_ENCODERS = 16384
MOST_DIMS = 65536  # of embeddings
NETWORK_PARTS = ("features", "norm", "pooling", "model")
LOSS_PARTS = ("loss", "regulariser")
# What the config of a checkpoint may name there, and what anything else is.
NETWORK = ("speakerlab.features.", "speakerlab.encoders.", "speakerlab.fusion."), "neither a feature nor an encoder"
LOSS = ("speakerlab.losses.",), "no loss"
RATES = (1000, 768_000)  # hertz
SPARE_ELEMENTS, MOST_OPERATIONS = 1 << 24, 200_000  # in building a network
FACTORIES = ("empty", "zeros", "ones", "full", "rand", "randn", "new_empty", "new_zeros", "new_ones", "new_full")


def check_archive(path: Path) -> None:
    """Refuse a checkpoint file that would unpack to more than it is, or is made of other things than checkpoints are.

    Raises:
        InputError: saying so.
    """
    wrong = f"ckpt={path} is damaged or none: "
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > os.path.getsize(path):
                raise InputError(f"{wrong}it unpacks to more than it is")
            if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLED:
                raise InputError(f"{wrong}it holds no pickle of at most {MOST_PICKLED / 1e6:.0f} MB")
            content = archive.read(pickles[0])
        if not is_archive(path):  # one that lies behind something else, which torch would read
            raise InputError(f"{wrong}it does not begin as an archive")
        named = classes_in(content, wrong, most=MOST_STEPS + os.path.getsize(path) // BYTES_OF_STEP)
    except InputError:
        raise
    except Exception as error:  # zipfile and pickletools raise half a dozen kinds
        raise InputError(f"{wrong}it can't be read as a checkpoint") from error
    strange = sorted(name for name in named if not BUILT_OF.fullmatch(name))
    if strange:
        raise InputError(f"{wrong}it names {strange[0]:.80}, which no checkpoint of speakerlab does")


def is_archive(path: str | os.PathLike) -> bool:
    """Whether torch takes a file for an archive; for anything else that it can't tell, it reads pickles in a row."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def classes_in(pickled: bytes | IO[bytes], what: str, pickles: int = 1, most: int = MOST_STEPS) -> set[str]:
    """What pickles, one after the other in a file, name.

    Raises:
        InputError: beginning with `what`, if undoing them takes too many steps.
    """
    named, steps = set(), 0
    for _ in range(pickles):
        for code, argument, _ in pickletools.genops(pickled):
            steps += 1
            if steps > most:
                raise InputError(f"{what}its pickle takes over {most:,} steps")
            if code.name == "GLOBAL":
                named.add(argument)
    return named


def check_contents(checkpoint: dict, path: Path) -> None:
    """Refuse contents of other kinds than a checkpoint's, or that look larger than they are.

    Raises:
        InputError: naming the part.
    """
    speakers, weights = checkpoint["speakers"], checkpoint["state_dict"]
    if not (isinstance(speakers, list) and all(isinstance(speaker, str) for speaker in speakers)):
        raise InputError(f"ckpt={path} is damaged: its speakers are no list of names")
    if not (isinstance(weights, dict) and all(map(_is_plain_tensor, weights.values()))):
        raise InputError(f"ckpt={path} is damaged: its weights are no plain tensors")
    if not isinstance(checkpoint["config"], dict):
        raise InputError(f"ckpt={path} is damaged: it has no config")
    sizes = checkpoint.get("left_out", {})
    if not isinstance(sizes, dict) or not all(type(size) is int and 1 <= size <= MOST_DIMS for size in sizes.values()):
        raise InputError(f"ckpt={path} is damaged: what it left out has no sizes")
    for _ in _plain_values(checkpoint["config"]):
        pass


def _is_plain_tensor(value: Any) -> bool:
    """Whether it has a number in memory for each of its elements."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def numbers_in(weights: dict[str, Tensor]) -> int:
    """How many numbers weights take in memory: any number of tensors may be of the same ones."""
    stores = {one.untyped_storage().data_ptr(): one for one in weights.values()}
    return sum(one.untyped_storage().nbytes() // one.element_size() for one in stores.values())


def _plain_values(config: Any) -> Iterator[tuple[str, Any]]:
    """Every value in a config with the name of its setting.

    Raises:
        InputError: for too many, too deep ones, or other kinds than configs have.
    """
    left, nodes = [("config", config, 0)], 0
    while left:
        name, value, depth = left.pop()
        nodes += 1
        if nodes > MOST_NODES or depth > DEEPEST:
            raise InputError("the checkpoint's config is damaged: it is larger than any config")
        if isinstance(value, dict):
            left += [(key, child, depth + 1) for key, child in value.items()]
        elif isinstance(value, list | tuple):
            left += [(name, child, depth + 1) for child in value]
        elif not isinstance(value, str | int | float | None) or (isinstance(value, str) and len(value) > LONGEST):
            raise InputError(f"the checkpoint's config is damaged: {name!r:.60} is of a kind that no config has")
        else:
            yield str(name), value


def check_network(config: dict, trust: tuple[str, ...] = ()) -> None:
    """Refuse a checkpoint's config that lacks what a network is built of, or names other classes there.

    Raises:
        InputError: with what it lacks or names.
    """
    _check_parts(config, (*NETWORK_PARTS, "frames", "loader"))
    for branch in config["model"].get("branches", {}).values():
        _check_parts(branch, (*NETWORK_PARTS, "frames"))
    _check_targets([config[part] for part in NETWORK_PARTS], *NETWORK, trust)
    rate = config["loader"]["sample_rate"]
    if type(rate) is not int or not RATES[0] <= rate <= RATES[1]:
        raise InputError(f"the checkpoint's config is damaged: loader.sample_rate={rate!r:.60}")
    for network in (config, *config["model"].get("branches", {}).values()):
        for part in (*NETWORK_PARTS, "frames"):
            _check_modest(part, network[part])


def check_loss(config: dict, trust: tuple[str, ...] = ()) -> None:
    """The same of what the loss is built of."""
    _check_parts(config, LOSS_PARTS)
    _check_targets([config["loss"], config["regulariser"]["loss"]], *LOSS, trust)


def _check_parts(contents: dict, keys: tuple[str, ...]) -> None:
    missing = set(keys) - contents.keys()
    if missing:
        raise InputError(
            f"the checkpoint's config lacks {', '.join(sorted(missing))}: it was not written by this speakerlab"
        )


def _check_targets(nodes: list, prefixes: tuple[str, ...], kinds: str, trust: tuple[str, ...]) -> None:
    """Of a checkpoint, wherever it comes from, nothing but this project's own classes of some kinds is built."""
    admitted = {target for target in known_targets() if target.startswith(prefixes)}
    for target in _targets(nodes):
        if target not in (*admitted, *trust):
            raise InputError(
                f"the checkpoint names {target}, which is {kinds} of speakerlab; if you know it, add trust=[{target}]"
            )


def _targets(node: Any) -> Iterator[str]:
    """Every `_target_` in a plain config, however deep."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)


def _check_modest(part: str, config: Any) -> None:
    """Refuse numbers that no network has."""
    tables = part in ("features", "norm", "frames")
    for number, (name, value) in enumerate(_plain_values(config)):
        if number >= MOST_SETTINGS:
            raise InputError(f"the checkpoint's config is damaged: {part} has over {MOST_SETTINGS:,} settings")
        largest = LARGER.get(name, LARGEST_OF_FEATURES) if tables else LARGEST_OF_ENCODERS
        if isinstance(value, int | float) and not abs(value) <= largest:
            raise InputError(f"the checkpoint's config asks for {part} with {name}={value!r:.60}; most is {largest:g}")
        if isinstance(value, str) and "${" in value:
            raise InputError(f"the checkpoint's config is not resolved: {part} has {name}={value!r:.60}")


@contextmanager
def frugal(elements: int) -> Iterator[None]:
    """Within, no more tensors are made than a network of so many numbers needs.

    Raises:
        InputError: when there are more.
    """
    with _Frugal(3 * elements + SPARE_ELEMENTS):
        yield


class _Frugal(TorchDispatchMode):
    """Counts what is allocated before it is."""

    def __init__(self, most: int):
        super().__init__()
        self.left, self.operations = most, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, function.overloadpacket.__name__
        self.operations += 1
        if name in FACTORIES:
            shape = next((arg for arg in args if isinstance(arg, list | tuple)), kwargs.get("size", ()))
            self.left -= torch.Size(shape).numel()
        elif name in ("arange", "linspace"):
            self.left -= int(max((abs(arg) for arg in args if isinstance(arg, int | float)), default=0))
        if self.left < 0 or self.operations > MOST_OPERATIONS:
            raise InputError("the checkpoint's config describes a larger network than its weights are")
        return function(*args, **kwargs)
