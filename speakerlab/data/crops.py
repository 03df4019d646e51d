"""Training items: a random crop of an utterance, or the whole of it, and what the augmentations want to know."""

from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from speakerlab import InputError
from speakerlab.data.audio import AudioError, played_rate
from speakerlab.data.batches import Key
from speakerlab.data.recordings import Recordings
from speakerlab.data.shared import SharedTable

ATTEMPTS = 10  # files tried for one place in a batch before the run stops
ATTEMPTS_AT_SPEAKER = 4  # of these, at the same speaker, whose whole folder may be gone
Draws = dict[str, dict[str, np.ndarray]]


class Augment(Protocol):
    """The half of the augmentation that runs in the workers; see `speakerlab.augment.recipe`."""

    def speed(self, seed: tuple[int, ...]) -> tuple[float, int]: ...

    def record(self, seed: tuple[int, ...], waveform: np.ndarray) -> np.ndarray: ...

    def draw(self, seed: tuple[int, ...], samples: int) -> dict[str, Draws]: ...


class CropDataset(Dataset):
    """Crops of a corpus's utterances, or whole utterances.

    Indexed by `(epoch, position, item)`, of which every random choice is a pure function. An item is
    `{"waveform": (samples,) float32, "length": int, "speaker": int, "utterance": int, "waveform_draws": ...,
    "spectrum_draws": ..., "faults": [...]}`; the draws are what each augmentation drew, by name.

    An utterance that can't be read is replaced by another, of the same speaker if possible; augmentations that meet a
    clip that can't be read draw again. Both are likewise drawn from the key. "faults" has (path, reason) of what could
    not be read, for the training process to count.

    Args:
        recordings: the utterances.
        classes: `(utterances,)` speaker of each.
        num_speakers: before speed perturbation makes new ones.
        crop_seconds: length of every crop, to which a shorter utterance is repeated; None takes whole utterances.
        sample_rate: in hertz, of `recordings`.
        seed: of crops and augmentations.
        augment: what happens to an item.
    """

    def __init__(
        self,
        recordings: Recordings,
        classes: np.ndarray,
        num_speakers: int,
        crop_seconds: float | None,
        sample_rate: int,
        seed: int,
        augment: Augment,
    ):
        self.recordings = recordings
        self.classes = classes
        self.shared_classes = SharedTable(pa.table({"class": classes}))
        self.num_speakers = num_speakers
        self.crop_seconds = crop_seconds
        self.sample_rate = sample_rate
        self.seed = seed
        self.augment = augment

    def __len__(self) -> int:
        return len(self.classes)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "classes"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self.classes = self.shared_classes.table["class"].to_numpy()

    def __getitem__(self, key: Key) -> dict:
        epoch, position, item = key
        heard, faults = None, []
        for attempt in range(ATTEMPTS):
            seed = (self.seed, epoch, position, attempt)
            try:
                heard = heard or self._hear(item, seed)
                return heard | self.augment.draw(seed, heard["length"]) | {"faults": faults}
            except AudioError as error:
                faults.append((error.path, error.reason))
                if heard is None:
                    item = self._another(item, seed, same_speaker=attempt < ATTEMPTS_AT_SPEAKER)
        raise InputError(f"{ATTEMPTS} files in a row can't be read, the last one: {': '.join(faults[-1])}")

    def _hear(self, item: int, seed: tuple[int, ...]) -> dict:
        """An item before its augmentations on the device are drawn."""
        speed, voice = self.augment.speed(seed)
        waveform = self.augment.record(seed, self._read(item, np.random.default_rng(seed), speed))
        return {
            "waveform": waveform,
            "length": len(waveform),
            "speaker": int(self.classes[item]) + voice * self.num_speakers,
            "utterance": item,
        }

    def _read(self, item: int, generator: np.random.Generator, speed: float) -> np.ndarray:
        """`(samples,)` float32 from a uniformly drawn place, played at `speed`."""
        available = int(self.recordings.samples[item])
        if self.crop_seconds is None:
            return self.recordings.read(item, 0, available, speed)
        crop = round(self.crop_seconds * self.sample_rate)
        # In whole numbers and rounded up, so that what is resampled is never a sample short.
        needed = -(-crop * played_rate(int(self.recordings.sample_rates[item]), speed) // self.sample_rate)
        wanted = min(needed, available)
        first = int(generator.integers(available - wanted + 1))
        waveform = self.recordings.read(item, first, wanted, speed)
        if len(waveform) < crop:  # a short utterance is repeated
            return np.resize(waveform, crop)
        return waveform[:crop]  # without a resampler's odd sample

    def _another(self, item: int, seed: tuple[int, ...], same_speaker: bool) -> int:
        """An utterance in the place of one that can't be read."""
        generator = np.random.default_rng([*seed, 1])
        is_wanted = (self.classes == self.classes[item]) == same_speaker
        is_wanted[item] = False
        others = np.flatnonzero(is_wanted) if is_wanted.any() else np.arange(len(self))
        return int(others[generator.integers(len(others))])


def collate(items: list[dict]) -> dict:
    """Items -> batch: arrays stacked, shorter ones padded with zeros at their end; all faults in one list."""
    batch = _stack([{name: value for name, value in item.items() if name != "faults"} for item in items])
    return batch | {"faults": [fault for item in items for fault in item["faults"]]}


def _stack(values: list) -> dict | Tensor:
    first = values[0]
    if isinstance(first, dict):
        return {name: _stack([value[name] for value in values]) for name in first}
    if isinstance(first, np.ndarray) and len({value.shape for value in values}) > 1:
        padded = np.zeros((len(values), *np.max([value.shape for value in values], axis=0)), first.dtype)
        for row, value in zip(padded, values, strict=True):
            row[tuple(map(slice, value.shape))] = value
        return torch.from_numpy(padded)
    return default_collate(values)
