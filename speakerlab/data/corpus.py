"""What a corpus hands to training: utterances to learn from, and trials to be judged by."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.manifest import speakers_of
from speakerlab.data.shards.index import Shards
from speakerlab.data.trials import Trials

BATCH_ROWS = 1 << 18  # of a table that is gone through in pieces
MOST_RUNS = 4096  # views of a table; more cost more to look up than a copy


@dataclass(frozen=True)
class Corpus:
    """One corpus, ready to use.

    Attributes:
        train: manifest rows to train on, or shards.
        trials: the development trials.
        development: audio file of each utterance in `trials.utterances`, in that order.
        notes: one line for the log from each step that has something to say.
    """

    train: pa.Table | Shards
    trials: Trials
    development: list[Path]
    notes: tuple[str, ...] = ()

    @property
    def speakers(self) -> list[str]:
        """Names of the training speakers in class order."""
        return self.train.speakers if isinstance(self.train, Shards) else speakers_of(self.train)

    @property
    def utterances(self) -> int:
        """How many there are to train on."""
        return len(self.train)


class CorpusLoader(Protocol):
    """Anything that `conf/data/*.yaml` may name: it finds or makes its files and returns a `Corpus`."""

    def load(self, progress: Progress | None = None) -> Corpus: ...


def check_disjoint(train: pa.Table, development: list[Path]) -> None:
    """Refuse development audio that lies in a training speaker's folder: such an EER would flatter the model.

    Raises:
        InputError: naming the first file and how many there are.
    """
    check_apart(speaker_folders(train), development)


def check_apart(folders: set[str], development: list[Path]) -> None:
    """`check_disjoint` with the training speakers' folders as `speaker_folders` gives them."""
    known: dict[str, bool] = {}  # links are followed once a folder, not once a file

    def is_trained_on(path: Path) -> bool:
        folder = os.path.dirname(os.path.realpath(path) if path.is_symlink() else path)
        if folder not in known:
            real = Path(os.path.realpath(folder))
            known[folder] = not folders.isdisjoint(map(str, (real, *real.parents)))
        return known[folder]

    shared = [path for path in development if is_trained_on(path)]
    if shared:
        raise InputError(
            f"{len(shared)} of {len(development)} development utterances belong to training speakers, "
            f"for example {shared[0]}; use trials over speakers that are not trained on"
        )


def speaker_folders(table: pa.Table) -> set[str]:
    """The first folder below the root of each row, links followed: a second for ten million rows."""
    below: dict[str, set[str]] = {}
    for batch in table.select(["root", "path"]).to_batches(max_chunksize=BATCH_ROWS):
        names = pc.list_element(pc.split_pattern(batch["path"], "/", max_splits=1), 0)
        roots = batch["root"].unique().to_pylist()
        for root in roots:
            own = names if len(roots) == 1 else names.filter(pc.equal(batch["root"].cast(pa.string()), root))
            below.setdefault(root, set()).update(own.unique().to_pylist())
    return {folder for root, names in below.items() for folder in _resolved(root, names)}


def _resolved(root: str, names: set[str]) -> list[str]:
    """`root/name` of each, links followed. The root is listed once, which tells the links among a million speakers."""
    real = os.path.realpath(root)
    try:
        with os.scandir(real) as entries:
            links = {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        links = set()
    paths = [os.path.join(real, name) for name in names]
    return [os.path.realpath(path) if os.path.basename(path) in links else path for path in paths]


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
    is_held_out = pc.is_in(table["speaker"], value_set=held_out).to_numpy()  # (rows,)
    return select_rows(table, ~is_held_out), select_rows(table, is_held_out)


def select_rows(table: pa.Table, wanted: np.ndarray) -> pa.Table:
    """The rows where `wanted` `(rows,)` is true, as views where they are few runs: a copy of ten million rows of a
    memory-mapped manifest takes more than a gigabyte."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).reshape(-1, 2)  # first and behind last
    if not 0 < len(edges) <= MOST_RUNS:
        return table.filter(pa.array(wanted))
    return pa.concat_tables([table.slice(first, end - first) for first, end in edges.tolist()])
