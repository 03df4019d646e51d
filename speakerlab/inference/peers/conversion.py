"""From what was found in a peer's checkpoint to a checkpoint of this program."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from speakerlab import InputError
from speakerlab.build import build_loss, build_network
from speakerlab.data.manifest import replacing
from speakerlab.inference.peers.imported import COUNTER, Imported, shape_words


def convert(imported: Imported, cfg: DictConfig, peer: str) -> tuple[dict[str, Any], int]:
    """A checkpoint with the peer's weights, in which nothing of the network is left to chance; and how many parameters
    the network has.

    Args:
        imported: what was found.
        cfg: that its overrides compose, checked.
        peer: whose it is.

    Raises:
        InputError: with all tensors that fit nothing, of theirs and of ours.
    """
    with torch.device("meta"):  # no memory before it is known that the file fills it
        expected = build_network(cfg).state_dict()
    check_fit(imported, expected)
    network = build_network(cfg)
    network.load_state_dict(imported.weights, strict=False)  # what may be missing was checked
    config = OmegaConf.to_container(cfg, resolve=True)
    config["data"] = None  # nobody knows where it lies
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    if imported.classifier is not None:
        loss = build_loss(cfg, network.embed_dim, len(imported.speakers))
        loss.load_state_dict({"classifier.weight": imported.classifier})
        weights |= {f"loss.{name}": tensor for name, tensor in loss.state_dict().items()}
    with open(imported.source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    checkpoint = {
        "config": config,
        "speakers": imported.speakers,
        "state_dict": weights,
        "imported": {"peer": peer, "file": imported.source.name, "sha256": digest},
    }
    return checkpoint, sum(parameter.numel() for parameter in network.parameters())


def check_fit(imported: Imported, expected: dict[str, Tensor]) -> None:
    """Refuse weights that are not exactly those of a network.

    Args:
        imported: with the weights.
        expected: those of the network.

    Raises:
        InputError: a line on how many do not fit, then one for each.
    """
    weights, origins = imported.weights, imported.origins
    lines = [
        f"theirs, unknown here:   {origins[name]} {shape_words(tensor)}"
        for name, tensor in weights.items()
        if name not in expected and not name.endswith(COUNTER)
    ]
    lines += [
        f"ours, not in the file:  {name} {shape_words(tensor)}"
        for name, tensor in expected.items()
        if name not in weights and not name.endswith(COUNTER)
    ]
    lines += [
        f"of another shape:       {origins[name]} {shape_words(weights[name])}; here {name} {shape_words(tensor)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if lines:
        raise InputError(
            f"{imported.source} is not {imported.architecture} as this program knows it: {len(lines)} tensors do not "
            "fit; nothing was written\n  " + "\n  ".join(lines)
        )


def write(checkpoint: dict[str, Any], target: Path) -> None:
    """Write a new file.

    Raises:
        InputError: if there is one, or it can't be written.
    """
    if target.exists():
        raise InputError(f"{target} is there already; give another -o")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no such folder")
    try:
        with replacing(target) as draft:
            torch.save(checkpoint, draft)
    except RuntimeError as error:  # torch hides the cause
        raise InputError(f"{target} can't be written: is the disk full?") from error
