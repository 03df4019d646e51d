"""What a recipe does to one item, step by step, for people to look at and listen to."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.chain import Chain, RecordingChain
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
        drawn: single numbers that were drawn, by name; infinite ones, which stand for nothing, are left out.
        measured: of a waveform `level_db`, output to input, and `difference_db`, (output - input) to input; of
            features the share of values that `changed`.
    """

    name: str
    stage: str
    applied: bool
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
        steps: of the worker's half: speed, and each transform of the recording.
    """

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.steps: list[Step] = []

    def speed(self, seed: Sequence[int]) -> tuple[float, int]:
        """The item's speed and voice; a new item, or a second attempt at one, begins with it."""
        factor, voice = self.recipe.speed(seed)
        self.steps = []
        if self.recipe.speed_perturbation is not None:
            self.steps.append(Step("speed", "speed", factor != 1.0, {"factor": factor, "voice": voice}))
        return factor, voice

    def record(self, seed: Sequence[int], waveform: np.ndarray) -> np.ndarray:
        """`(samples,)` through the recording chain, one transform at a time."""
        for name, transform in self.recipe.recording.transforms.items():
            # A chain of one seeds its member as the whole does: by name.
            processed = RecordingChain({name: transform}).process(seed, waveform.copy())
            self.steps.append(_compared(name, "recording", {}, waveform, processed))
            waveform = processed
        return waveform

    def draw(self, seed: Sequence[int], samples: int) -> dict:
        """What the chains on the device need."""
        return self.recipe.draw(seed, samples)


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
        witness: that drew the item.
        item: as the data set gave it: `waveform` `(samples,)`, `waveform_draws`, `spectrum_draws`.
        before: `(samples,)` the same crop under no augmentation.
        features: `(1, samples), None -> (1, frames, dim) or (1, channels, frames, dim), None`.
    """
    x, own = _through(recipe.waveform, torch.from_numpy(item["waveform"])[None], item["waveform_draws"], "waveform")
    steps = [*witness.steps, *own]
    with torch.no_grad():
        pictures = {"as recorded": features(torch.from_numpy(before)[None], None)[0]}
        seen = features(x, None)[0]
        if steps:
            pictures["after the waveform's augmentations"] = seen
        seen, own = _through(recipe.spectrum, seen, item["spectrum_draws"], "spectrum")
        if own:
            pictures["after the spectrum's augmentations"] = seen
    planes = {name: _plane(picture) for name, picture in pictures.items()}
    return Trace(before, x[0].numpy(), planes, [*steps, *own])


def _through(chain: Chain, x: Tensor, draws: Mapping[str, Mapping], stage: str) -> tuple[Tensor, list[Step]]:
    """`(1, ...)` after the chain, and each member's step."""
    steps = []
    for name, augmentation in chain.augmentations.items():
        changed = Chain({name: augmentation}).apply(x, {name: _batched(draws[name])})
        steps.append(_compared(name, stage, numbers_of(draws[name]), x[0].numpy(), changed[0].numpy()))
        x = changed
    return x, steps


def numbers_of(drawn: Mapping, prefix: str = "") -> dict[str, float]:
    """The single finite numbers in what was drawn, however deep, by dotted name.

    >>> numbers_of({"noise": np.zeros(3), "snr_db": np.array(7.5), "other": {"snr_db": np.array(np.inf)}})
    {'snr_db': 7.5}
    """
    found = {}
    for name, value in drawn.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{prefix}{name}.")
        elif np.size(value) == 1 and np.isfinite(value).all():
            found[f"{prefix}{name}"] = float(np.reshape(value, ()))
    return found


def _compared(name: str, stage: str, drawn: dict[str, float], x: np.ndarray, y: np.ndarray) -> Step:
    step = Step(name, stage, True, drawn)
    if stage == "spectrum":
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
