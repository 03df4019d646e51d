"""Training items: a random crop of an utterance, and what the augmentations want to know about it."""

import math
from typing import Protocol

import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset

from speakerlab.data.audio import read_audio
from speakerlab.data.batches import Key
from speakerlab.data.manifest import file_of, speaker_classes


class Draws(Protocol):
    """The half of an augmentation chain that runs in the workers; see `speakerlab.augment`."""

    def draw(self, seed: tuple[int, ...], samples: int) -> dict[str, dict[str, np.ndarray]]: ...


class CropDataset(Dataset):
    """Random crops of a manifest's utterances.

    Indexed by `(epoch, position, item)`, of which every random choice is a pure function. An item is
    `{"waveform": (samples,) float32, "length": int, "speaker": int, "utterance": int, "waveform_draws": ...,
    "spectrum_draws": ...}`; the last two are what each augmentation drew, by name.

    Args:
        table: manifest of the utterances.
        speakers: names in class order.
        crop_seconds: length of every crop; a shorter utterance is repeated to fill it.
        sample_rate: in hertz; other rates are resampled.
        seed: of crops and augmentations.
        waveform_augment, spectrum_augment: chains of augmentations.
    """

    def __init__(
        self,
        table: pa.Table,
        speakers: list[str],
        crop_seconds: float,
        sample_rate: int,
        seed: int,
        waveform_augment: Draws,
        spectrum_augment: Draws,
    ):
        self.table = table
        self.classes = speaker_classes(table, speakers)
        # Arrow tables cost microseconds a cell; these columns are read for every item.
        self.first_sample = table["first_sample"].to_numpy()
        self.samples = table["samples"].to_numpy()
        self.sample_rates = table["sample_rate"].to_numpy()
        self.crop_seconds = crop_seconds
        self.crop_samples = round(crop_seconds * sample_rate)
        self.sample_rate = sample_rate
        self.seed = seed
        self.waveform_augment = waveform_augment
        self.spectrum_augment = spectrum_augment

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: Key) -> dict:
        epoch, position, item = key
        seed = (self.seed, epoch, position)
        return {
            "waveform": self._crop(item, np.random.default_rng(seed)),
            "length": self.crop_samples,
            "speaker": int(self.classes[item]),
            "utterance": item,
            "waveform_draws": self.waveform_augment.draw(seed, self.crop_samples),
            "spectrum_draws": self.spectrum_augment.draw(seed, self.crop_samples),
        }

    def _crop(self, item: int, generator: np.random.Generator) -> np.ndarray:
        """`(crop_samples,)` float32 from a uniformly drawn place."""
        available = int(self.samples[item])
        wanted = min(math.ceil(self.crop_seconds * self.sample_rates[item]), available)
        first = int(self.first_sample[item]) + int(generator.integers(available - wanted + 1))
        waveform = read_audio(file_of(self.table, item), first, wanted, self.sample_rate)
        return np.resize(waveform, self.crop_samples)  # repeats a short utterance, cuts a resampler's odd sample
