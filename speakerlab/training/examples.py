"""Training items as they reach the network, for people to look at and listen to."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
from omegaconf import DictConfig, OmegaConf
from torch import nn

from speakerlab.augment.recipe import Recipe
from speakerlab.augment.trace import Trace, Witness, trace
from speakerlab.data.batches import Key
from speakerlab.data.crops import CropDataset
from speakerlab.data.shards.dataset import ShardDataset
from speakerlab.network import FusionNetwork, SpeakerNetwork
from speakerlab.training.datamodule import SpeakerDataModule


@dataclass(frozen=True, eq=False)
class Place:
    """Where training meets an item: `crops[key]`.

    Attributes:
        crops: of the manifest; of shards, those of a batch.
        key: (epoch, position, row of `crops`).
        utterances: `(rows,)` ids of what `crops` holds.
    """

    crops: CropDataset
    key: Key
    utterances: pa.Array | pa.ChunkedArray


@dataclass(frozen=True, eq=False)
class Example:
    """One training item.

    Attributes:
        speaker: name; behind it the voice that a change of speed made, where that counts as another speaker.
        utterance: id in the manifest.
        trace: its way through the augmentations.
        faults: what could not be read and was replaced.
    """

    speaker: str
    utterance: str
    trace: Trace
    faults: list[str]


def first_places(data: SpeakerDataModule, count: int, epoch: int) -> list[Place]:
    """Of the first items of an epoch, in the order in which one process trains on them."""
    return list(islice(_places(data, epoch), count))


def _places(data: SpeakerDataModule, epoch: int) -> Iterator[Place]:
    batches = data.batches()
    batches.set_epoch(epoch)
    for keys in batches:
        if isinstance(data.dataset, ShardDataset):
            ((_, number),) = keys
            packed = data.dataset.read(epoch, number)
            crops, names = data.dataset.crops(packed), pa.array([one.utterance for one in packed], pa.string())
            yield from (Place(crops, (epoch, one.position, row), names) for row, one in enumerate(packed))
        else:
            yield from (Place(data.dataset, key, data.corpus.train["utterance"]) for key in keys)


def example(data: SpeakerDataModule, features: nn.Module, place: Place) -> Example:
    """The item that training with the augmentations of `data` meets at this place: the same crop and the same draws."""
    dataset, plain, witness = copy.copy(place.crops), copy.copy(place.crops), Witness(data.augment)
    dataset.augment, plain.augment = witness, Recipe()
    item = dataset[place.key]
    voice, speaker = divmod(item["speaker"], len(data.speakers))
    return Example(
        speaker=data.speakers[speaker] + (f", voice {voice}" if voice else ""),
        utterance=place.utterances[item["utterance"]].as_py(),
        trace=trace(data.augment, witness, item, plain[place.key]["waveform"], features),
        faults=[f"{path}: {reason}" for path, reason in item["faults"]],
    )


def shown_features(network: SpeakerNetwork | FusionNetwork) -> nn.Module:
    """The features that are drawn: of a fusion, those of its first branch that sees more than the waveform."""
    features = [branch.features for branch in network.branches.values()]
    return next((one for one in features if one.dim > 1), features[0])


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
