"""What a recipe does to one item, step by step, for people to look at and listen to."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.chain import Augmentation, Chain, RecordingChain
from speakerlab.augment.recipe import Recipe

# Rounding of a convolution with the unit impulse stays below -120 dB; what is heard does not.
UNCHANGED_DB = -100.0


@dataclass(frozen=True)
class Step:
    """One augmentation's part.

    Attributes:
        name: of the augmentation, as the configuration calls it.
        stage: "speed", "recording", "waveform" or "spectrum".
        applied: whether it changed the item, rather than spare it.
        chosen: which of its alternatives was drawn; "" for an augmentation that has none.
        drawn: single numbers that were drawn, by name; infinite ones, which stand for nothing, are left out.
        measured: of a waveform `level_db`, output to input, and `difference_db`, (output - input) to input; of
            features the share of values that `changed`.
    """

    name: str
    stage: str
    applied: bool
    chosen: str = ""
    drawn: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trace:
    """One item on its way through a recipe.

    Attributes:
        before: `(samples,)` float32, as recorded.
        after: `(samples,)` float32, as features are computed from it.
        pictures: stage -> features `(frames, dim)`, in order: as recorded, after the waveform's augmentations, and
            after those of the spectrum, where there are any.
        steps: what each augmentation did, in order.
    """

    before: np.ndarray
    after: np.ndarray
    pictures: dict[str, np.ndarray]
    steps: list[Step]


class Witness:
    """Stands in for a recipe in a data set, and remembers what the recipe was asked for and gave.

    Attributes:
        steps: of speed, and of each transform of the recording.
        drawn: name of an augmentation on the device -> (name, numbers) of each that drew: itself, or the alternative
            that it chose.
    """

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.steps: list[Step] = []
        self.drawn: dict[str, list[tuple[str, dict[str, float]]]] = {}

    def speed(self, seed: Sequence[int]) -> tuple[float, int]:
        """The item's speed and voice; a new item, or a second attempt at one, begins with it."""
        factor, voice = self.recipe.speed(seed)
        self.steps = []
        if self.recipe.speed_perturbation is not None:
            self.steps.append(Step("speed", "speed", factor != 1.0, drawn={"factor": factor, "voice": voice}))
        return factor, voice

    def record(self, seed: Sequence[int], waveform: np.ndarray) -> np.ndarray:
        """`(samples,)` through the recording chain, one transform at a time."""
        for name, transform in self.recipe.recording.transforms.items():
            # A chain of one seeds its member as the whole does: by name.
            processed = RecordingChain({name: transform}).process(seed, waveform.copy())
            self.steps.append(_compared(Step(name, "recording", True), waveform, processed))
            waveform = processed
        return waveform

    def draw(self, seed: Sequence[int], samples: int) -> dict:
        """What the chains on the device need."""
        self.drawn = {}
        watched = replace(
            self.recipe,
            waveform=self._watched_chain(self.recipe.waveform),
            spectrum=self._watched_chain(self.recipe.spectrum),
        )
        return watched.draw(seed, samples)

    def _watched_chain(self, chain: Chain) -> Chain:
        return Chain(
            {
                name: _watched(augmentation, name, self.drawn.setdefault(name, []))
                for name, augmentation in chain.augmentations.items()
            }
        )


class _Watched:
    """An augmentation that notes what it draws."""

    def __init__(self, augmentation: Augmentation, name: str, notes: list[tuple[str, dict[str, float]]]):
        self.augmentation = augmentation
        self.name = name
        self.notes = notes

    def draw(self, generator: np.random.Generator, samples: int) -> dict:
        drawn = self.augmentation.draw(generator, samples)
        self.notes.append((self.name, numbers_of(drawn)))
        return drawn

    def __getattr__(self, name: str) -> Any:
        return getattr(self.augmentation, name)


def _watched(augmentation: Augmentation, name: str, notes: list) -> Augmentation:
    """The augmentation, noting its draws; in place of one with alternatives these are watched."""
    inner = getattr(augmentation, "augmentations", None)
    if inner is None:
        return _Watched(augmentation, name, notes)
    watched = copy.copy(augmentation)
    watched.augmentations = {label: _watched(alternative, label, notes) for label, alternative in inner.items()}
    return watched


def trace(
    recipe: Recipe,
    witness: Witness,
    item: Mapping,
    before: np.ndarray,
    features: Callable[[Tensor, None], tuple[Tensor, None]],
) -> Trace:
    """Follow one item through the half of the recipe that runs on the device.

    Args:
        recipe: what is done to it.
        witness: of the recipe, that drew the item.
        item: as the data set gave it: `waveform` `(samples,)`, `waveform_draws`, `spectrum_draws`.
        before: `(samples,)` the same crop under no augmentation.
        features: `(1, samples), None -> (1, frames, dim) or (1, channels, frames, dim), None`.
    """
    x, own = _through(recipe.waveform, torch.from_numpy(item["waveform"])[None], item["waveform_draws"], witness)
    steps = [*witness.steps, *own]
    with torch.no_grad():
        pictures = {"as recorded": features(torch.from_numpy(before)[None], None)[0]}
        seen = features(x, None)[0]
        if steps:
            pictures["after the waveform's augmentations"] = seen
        seen, own = _through(recipe.spectrum, seen, item["spectrum_draws"], witness)
        if own:
            pictures["after the spectrum's augmentations"] = seen
    planes = {name: _plane(picture) for name, picture in pictures.items()}
    return Trace(before, x[0].numpy(), planes, [*steps, *own])


def _through(chain: Chain, x: Tensor, draws: Mapping[str, Mapping], witness: Witness) -> tuple[Tensor, list[Step]]:
    """`(1, ...)` after the chain, and each member's step."""
    steps = []
    for name, augmentation in chain.augmentations.items():
        changed = Chain({name: augmentation}).apply(x, {name: _batched(draws[name])})
        stage = "waveform" if x.ndim == 2 else "spectrum"
        chosen = "".join(label for label, _ in witness.drawn[name] if label != name)
        numbers = {key: value for _, drawn in witness.drawn[name] for key, value in drawn.items()}
        steps.append(_compared(Step(name, stage, True, chosen, numbers), x[0].numpy(), changed[0].numpy()))
        x = changed
    return x, steps


def numbers_of(drawn: Mapping) -> dict[str, float]:
    """The single finite numbers in what an augmentation drew.

    >>> numbers_of({"noise": np.zeros(3), "snr_db": np.array(7.5), "floor_db": np.array(-np.inf)})
    {'snr_db': 7.5}
    """
    return {
        name: float(np.reshape(value, ()))
        for name, value in drawn.items()
        if np.size(value) == 1 and np.isfinite(value).all()
    }


def _compared(step: Step, x: np.ndarray, y: np.ndarray) -> Step:
    """The step with what it did to `x`."""
    if step.stage == "spectrum":
        changed = float((x != y).mean())
        return replace(step, applied=changed > 0, measured={"changed": changed})
    difference = _ratio_db(y - x, x)
    measured = {"level_db": _ratio_db(y, x), "difference_db": difference}
    return replace(step, applied=difference > UNCHANGED_DB, measured=measured)


def _ratio_db(x: np.ndarray, y: np.ndarray) -> float:
    """20 log10 of one RMS to another."""
    above, below = (float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) for signal in (x, y))
    if above == 0.0:
        return -math.inf
    return 20 * math.log10(above / below) if below else math.inf


def _batched(drawn: Mapping) -> dict:
    """A batch of one item's draws."""
    return {
        name: _batched(value) if isinstance(value, Mapping) else torch.as_tensor(value)[None]
        for name, value in drawn.items()
    }


def _plane(features: Tensor) -> np.ndarray:
    """`(1, frames, dim)` or the first channel of `(1, channels, frames, dim)` as `(frames, dim)`."""
    plane = features[0].float()
    return (plane if plane.ndim == 2 else plane[0]).numpy()
