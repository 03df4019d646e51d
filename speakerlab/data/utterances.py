"""Whole utterances for embedding, in batches of similar length."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from speakerlab import InputError
from speakerlab.data.audio import probe, read_audio
from speakerlab.data.recordings import Recordings

SHORTEST_SECONDS = 0.1


def measure(files: list[Path]) -> np.ndarray:
    """Seconds of each file `(files,)`, from the headers.

    Raises:
        InputError: for the first file that can't be used, with how many there are.
    """

    def seconds(file: Path) -> float | InputError:
        try:
            info = probe(file)
        except InputError as error:
            return error
        length = info.samples / info.sample_rate
        if length < SHORTEST_SECONDS:
            return InputError(f"{file} is {length:.3f} s long; at least {SHORTEST_SECONDS} s are needed")
        return length

    with ThreadPoolExecutor() as pool:
        lengths = list(pool.map(seconds, files))
    bad = [length for length in lengths if isinstance(length, InputError)]
    if bad:
        raise InputError(f"{bad[0]} ({len(bad)} of {len(files)} files can't be used)")
    return np.array(lengths)


class UtteranceDataset(Dataset):
    """Whole files: item `i` is `(i, (samples,) float32)`."""

    def __init__(self, files: list[Path], sample_rate: int):
        self.files = files
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        return index, read_audio(self.files[index], sample_rate=self.sample_rate)


class RowDataset(Dataset):
    """Whole rows of a manifest: item `i` is `(i, (samples,) float32)`."""

    def __init__(self, recordings: Recordings):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings.samples)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        return index, self.recordings.read(index, 0, int(self.recordings.samples[index]))


class LengthBatches:
    """A `batch_sampler`: utterances of similar length together, the longest first, at most `max_seconds` a batch.

    The longest come first so that a batch that does not fit into memory fails at once.

    Args:
        seconds: length of each utterance.
        max_seconds: padded length of a batch; a longer utterance is a batch of its own.
        rank, world_size: this process takes every `world_size`-th batch.
    """

    def __init__(self, seconds: np.ndarray, max_seconds: float = 120.0, rank: int = 0, world_size: int = 1):
        batches: list[list[int]] = []
        for index in np.argsort(-seconds, kind="stable").tolist():
            if not batches or (len(batches[-1]) + 1) * seconds[batches[-1][0]] > max_seconds:
                batches.append([])
            batches[-1].append(index)
        self.batches = batches[rank::world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def pad_utterances(items: list[tuple[int, np.ndarray]]) -> dict[str, Tensor]:
    """Collate: `{"waveform": (batch, samples) zero-padded, "length": (batch,), "utterance": (batch,)}`."""
    lengths = [len(waveform) for _, waveform in items]
    padded = np.zeros((len(items), max(lengths)), dtype=np.float32)
    for row, (_, waveform) in zip(padded, items, strict=True):
        row[: len(waveform)] = waveform
    return {
        "waveform": torch.from_numpy(padded),
        "length": torch.tensor(lengths),
        "utterance": torch.tensor([index for index, _ in items]),
    }
