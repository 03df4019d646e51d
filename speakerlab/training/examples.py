"""Training items as they reach the network, for people to look at and listen to."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from omegaconf import DictConfig, OmegaConf
from torch import nn

from speakerlab.augment.recipe import Recipe
from speakerlab.augment.trace import Trace, Witness, trace
from speakerlab.data.batches import Key
from speakerlab.training.datamodule import SpeakerDataModule


@dataclass(frozen=True, eq=False)
class Example:
    """One training item.

    Attributes:
        speaker: name; behind it the voice that a change of speed made, where that counts as another speaker.
        utterance: id in the manifest.
        key: (epoch, position in the epoch, row of the manifest).
        trace: its way through the augmentations.
        faults: what could not be read and was replaced.
    """

    speaker: str
    utterance: str
    key: Key
    trace: Trace
    faults: list[str]


def first_keys(data: SpeakerDataModule, count: int, epoch: int) -> list[Key]:
    """Of the first items of an epoch, in the order in which one process trains on them."""
    batches = data.batches()
    batches.set_epoch(epoch)
    return list(islice(chain.from_iterable(batches), count))


def example(data: SpeakerDataModule, features: nn.Module, key: Key) -> Example:
    """The item that training meets at this key: the same crop and the same draws."""
    dataset, plain, witness = copy.copy(data.dataset), copy.copy(data.dataset), Witness(data.augment)
    dataset.augment, plain.augment = witness, Recipe()
    item = dataset[key]
    row = item["utterance"]
    voice, speaker = divmod(item["speaker"], len(data.speakers))
    return Example(
        speaker=data.speakers[speaker] + (f", voice {voice}" if voice else ""),
        utterance=data.corpus.train["utterance"][row].as_py(),
        key=key,
        trace=trace(data.augment, witness, item, plain[key]["waveform"], features),
        faults=[f"{path}: {reason}" for path, reason in item["faults"]],
    )


def each_alone(cfg: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """(name, configuration) for each augmentation of the configuration, alone and certain to apply.

    Alternatives within one (its `augmentations`) and factors of the speed count singly. Mixup, which no item shows by
    itself, is left out.
    """
    whole = OmegaConf.to_container(cfg, resolve=True)
    augment = whole["augment"]
    chains = {kind: nodes for kind, nodes in augment.items() if isinstance(nodes, dict) and "_target_" not in nodes}
    nothing = {key: None if isinstance(value, dict) else value for key, value in augment.items()}
    nothing |= {kind: {} for kind in chains}
    speed = augment["speed"] or {}
    alone = [
        (f"speed {factor:g}", {"speed": {**speed, "factors": [factor], "new_speakers": False}})
        for factor in speed.get("factors", ())
        if factor != 1.0
    ]
    for kind, nodes in chains.items():
        for name, node in nodes.items():
            alone += [(label, {kind: {name: single}}) for label, single in _singly(name, node)]
    for label, given in alone:
        yield label, OmegaConf.create({**whole, "augment": {**nothing, **given}})


def _singly(name: str, node: dict | None) -> Iterator[tuple[str, dict]]:
    """(label, node) of an augmentation with probability 1, once for each of its alternatives."""
    if node is None:
        return
    certain = {**node, "probability": 1.0} if "probability" in node else node
    if "augmentations" not in node:
        yield name, certain
        return
    for inner, child in node["augmentations"].items():
        for label, alone in _singly(inner, child):
            yield label, {**certain, "augmentations": {inner: alone}} | ({"weights": None} if "weights" in node else {})
