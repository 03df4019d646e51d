"""What a corpus hands to training: utterances to learn from, and trials to be judged by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.manifest import speakers_of
from speakerlab.data.trials import Trials


@dataclass(frozen=True)
class Corpus:
    """One corpus, ready to use.

    Attributes:
        train: manifest rows to train on.
        trials: the development trials.
        development: audio file of each utterance in `trials.utterances`, in that order.
        notes: one line for the log from each step that has something to say.
    """

    train: pa.Table
    trials: Trials
    development: list[Path]
    notes: tuple[str, ...] = ()


class CorpusLoader(Protocol):
    """Anything that `conf/data/*.yaml` may name: it finds or makes its files and returns a `Corpus`."""

    def load(self, progress: Progress | None = None) -> Corpus: ...


def check_disjoint(train: pa.Table, development: list[Path]) -> None:
    """Refuse development audio that lies in a training speaker's folder: such an EER would flatter the model.

    Raises:
        InputError: naming the first file and how many there are.
    """
    speakers = {
        (Path(root) / path).parents[_depth(path)]
        for root, path in zip(train["root"].to_pylist(), train["path"].to_pylist(), strict=True)
    }
    folders = {str(folder.resolve()) for folder in speakers}  # links are followed once a speaker, not once a file
    shared = [path for path in development if any(str(parent) in folders for parent in path.resolve().parents)]
    if shared:
        raise InputError(
            f"{len(shared)} of {len(development)} development utterances belong to training speakers, "
            f"for example {shared[0]}; use trials over speakers that are not trained on"
        )


def hold_out_speakers(table: pa.Table, count: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Split off `count` speakers, drawn by `seed`: `(rows of the others, rows of the held-out)`.

    Raises:
        InputError: if fewer than two speakers would stay on either side.
    """
    speakers = speakers_of(table)
    if not 2 <= count <= len(speakers) - 2:
        raise InputError(
            f"data.heldout_speakers={count} must leave at least 2 of {len(speakers)} speakers on either side"
        )
    held_out = pa.array(np.random.default_rng(seed).permutation(speakers)[:count].tolist())
    is_held_out = pc.is_in(table["speaker"], value_set=held_out)
    return table.filter(pc.invert(is_held_out)), table.filter(is_held_out)


def _depth(path: str) -> int:
    """Index in `Path.parents` of the speaker's folder, the first below the root."""
    return len(Path(path).parts) - 2
