"""What a corpus hands to training: utterances to learn from, and trials to be judged by."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.manifest import files_of, speakers_of
from speakerlab.data.trial_drawing import draw_trials
from speakerlab.data.trials import Trials
from speakerlab.data.utterance_names import rows_named


@dataclass(frozen=True)
class Corpus:
    """One corpus, ready to use: for verification with trials, for identification with utterances of known speakers.

    Attributes:
        train: manifest rows to train on.
        trials: the development trials; None for identification.
        development: audio file of each utterance in `trials.utterances`, in that order.
        notes: one line for the log from each step that has something to say.
        test_trials, test_files: trials over further speakers, for the trained model; None and empty where there are
            none.
        validation: other utterances of the training speakers, classified while training; None for verification.
        test: further such utterances, for the trained model; None where there are none.
    """

    train: pa.Table
    trials: Trials | None
    development: list[Path]
    notes: tuple[str, ...] = ()
    test_trials: Trials | None = None
    test_files: list[Path] = field(default_factory=list)
    validation: pa.Table | None = None
    test: pa.Table | None = None


class CorpusLoader(Protocol):
    """Anything that `conf/data/*.yaml` may name: it finds or makes its files and returns a `Corpus`."""

    def load(self, progress: Progress | None = None) -> Corpus: ...


def check_disjoint(train: pa.Table, development: list[Path]) -> None:
    """Refuse development audio that lies in a training speaker's folder: such an EER would flatter the model.

    Args:
        train: manifest whose paths begin with the speaker's folder.
        development: audio files.

    Raises:
        InputError: naming the first file and how many there are.
    """
    folders = {os.path.realpath(folder) for folder in _speaker_folders(train)}
    above: dict[Path, bool] = {}  # links are followed once a folder, not once a file

    def is_trained_on(path: Path) -> bool:
        folder = Path(os.path.realpath(path)).parent if os.path.islink(path) else path.parent
        if folder not in above:
            real = Path(os.path.realpath(folder))
            above[folder] = any(str(parent) in folders for parent in (real, *real.parents))
        return above[folder]

    shared = [path for path in development if is_trained_on(path)]
    if shared:
        raise InputError(
            f"{len(shared)} of {len(development)} development utterances belong to training speakers, "
            f"for example {shared[0]}; use trials over speakers that are not trained on"
        )


def _speaker_folders(table: pa.Table) -> list[str]:
    """The folders directly below the roots that hold the rows' files, each once."""
    names = pc.extract_regex(table["path"], "^(?P<folder>[^/]*)/").combine_chunks().field("folder").dictionary_encode()
    roots = table["root"].combine_chunks()
    # A pair of numbers is quicker to tell apart than a path: a million rows have some thousand folders.
    width = len(names.dictionary) + 1
    keys = np.unique(pc.fill_null(names.indices, width - 1).to_numpy() + width * roots.indices.to_numpy().astype(int))
    pairs = [divmod(int(key), width) for key in keys]
    return [
        os.path.join(roots.dictionary[root].as_py(), names.dictionary[name].as_py())
        for root, name in pairs
        if name < width - 1
    ]


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


def with_held_out_trials(table: pa.Table, speakers: int, trials: int, seed: int) -> Corpus:
    """Train on all but some speakers, and be judged by trials drawn over those.

    Args:
        table: manifest.
        speakers: how many are held out.
        trials: how many are drawn.
        seed: of both.
    """
    train, held_out = hold_out_speakers(table, speakers, seed)
    drawn = draw_trials(held_out, trials, seed)
    return Corpus(train, drawn, files_of(held_out, rows_named(held_out, drawn.utterances)))


def voxceleb1_overlap(names: list[str], speakers: list[str]) -> list[str]:
    """VoxCeleb1's speakers who are among `speakers` and whose folder is in the name of an utterance.

    >>> voxceleb1_overlap(["wav/id10270/x/1.wav", "id10271/y/2.wav"], ["id10270", "id00012"])
    ['id10270']
    """
    found = pc.extract_regex(pa.array(names, pa.string()), "(?:^|/)(?P<speaker>id1[0-9]{4})/").field("speaker")
    return sorted(set(pc.unique(found.drop_null()).to_pylist()) & set(speakers))
