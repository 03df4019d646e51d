"""Whole utterances for embedding, in batches of similar length."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from speakerlab import InputError
from speakerlab.data.audio import SHORTEST_SECONDS, probe, read_audio
from speakerlab.data.recordings import Recordings

TO_THE_END = -1  # in place of a number of samples


@dataclass(frozen=True, eq=False)
class Utterances:
    """What is to be embedded: files, or parts of files, and what they are called.

    Attributes:
        names: of the utterances; enough where their embeddings are saved.
        files: `(utterances,)` their audio files; None where only saved embeddings can be meant.
        first_sample: `(utterances,)` int64, at the file's own rate.
        samples: `(utterances,)` int64, at the file's own rate, or `TO_THE_END`.
        seconds: `(utterances,)` durations, NaN where nobody has measured yet.
        speakers: `(utterances,)` or None where nobody said.
    """

    names: list[str]
    files: list[str] | None
    first_sample: np.ndarray
    samples: np.ndarray
    seconds: np.ndarray
    speakers: list[str] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def measured(self, rows: np.ndarray) -> np.ndarray:
        """Durations of some rows, `(rows,)`, from the headers where they are not known.

        Raises:
            InputError: if a file can't be used.
        """
        seconds = self.seconds[rows]
        unknown = np.flatnonzero(np.isnan(seconds))
        if len(unknown):
            seconds[unknown] = measure([Path(self.files[row]) for row in rows[unknown]])
        return seconds

    def same_audio(self, rows: np.ndarray) -> np.ndarray:
        """The other number of samples that means the same audio, `(rows,)`: for a file as a whole its length, for a
        part that is the whole file `TO_THE_END`, and 0 where there is none.

        Raises:
            AudioError: if a file can't be read.
        """
        begins = np.flatnonzero(self.first_sample[rows] == 0)
        with ThreadPoolExecutor() as pool:
            headers = pool.map(probe, [self.files[row] for row in rows[begins]])
            lengths = np.array([header.samples for header in headers], np.int64)
        samples, other = self.samples[rows[begins]], np.zeros(len(rows), np.int64)
        other[begins] = np.where(samples == TO_THE_END, lengths, np.where(samples == lengths, TO_THE_END, 0))
        return other


def utterances_in_files(
    names: list[str], files: Sequence[str | Path] | None, speakers: list[str] | None = None
) -> Utterances:
    """Each file as a whole."""
    count = len(names)
    nothing, whole = np.zeros(count, np.int64), np.full(count, TO_THE_END, np.int64)
    paths = None if files is None else [os.fspath(file) for file in files]
    return Utterances(names, paths, nothing, whole, np.full(count, np.nan), speakers)


def utterances_of_rows(table: pa.Table) -> Utterances:
    """The rows of a manifest, each of which may be a part of a file."""
    roots, paths = table["root"].to_pylist(), table["path"].to_pylist()
    first, samples = table["first_sample"].to_numpy(), table["samples"].to_numpy()
    return Utterances(
        names=table["utterance"].to_pylist(),
        files=[f"{root}/{path}" for root, path in zip(roots, paths, strict=True)],
        first_sample=first,
        samples=samples,
        seconds=samples / table["sample_rate"].to_numpy(),
        speakers=table["speaker"].to_pylist(),
    )


def joined_utterances(parts: list[Utterances]) -> Utterances:
    """One after the other; without files or speakers where a part has none."""

    def listed(column: str) -> list | None:
        lists = [getattr(part, column) for part in parts]
        return None if None in lists else [*chain(*lists)]

    def stacked(column: str) -> np.ndarray:
        return np.concatenate([getattr(part, column) for part in parts])

    numbers = (stacked(column) for column in ("first_sample", "samples", "seconds"))
    return Utterances(listed("names"), listed("files"), *numbers, listed("speakers"))


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


class PartDataset(Dataset):
    """Some of `Utterances`: item `i` is `(i, (samples,) float32)` of row `rows[i]`."""

    def __init__(self, utterances: Utterances, rows: np.ndarray, sample_rate: int):
        self.files = [utterances.files[row] for row in rows]
        self.first_sample, self.samples = utterances.first_sample[rows], utterances.samples[rows]
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        samples = int(self.samples[index])
        count = None if samples == TO_THE_END else samples
        return index, read_audio(self.files[index], int(self.first_sample[index]), count, self.sample_rate)


class RowDataset(Dataset):
    """Whole rows of a manifest: item `i` is `(i, (samples,) float32)`."""

    def __init__(self, recordings: Recordings):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings.samples)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        return index, self.recordings.read(index, 0, int(self.recordings.samples[index]))


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
