"""Corpora that `speakerlab prepare` or `speakerlab resplit` has written: a folder with a manifest, and trial lists."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus, check_strangers, with_held_out_trials
from speakerlab.data.division import Division
from speakerlab.data.fraction import check_fraction
from speakerlab.data.manifest import concat_manifests, manifest_at, read_manifest, seconds_of, speakers_of
from speakerlab.data.splits import rows_of_splits
from speakerlab.data.tree import paths_of
from speakerlab.data.trials import check_both_kinds, find_trials_and_files


@dataclass
class PreparedCorpus:
    """One or several prepared folders.

    Args:
        root: folder with manifest.parquet, a manifest's own path, or a list of these.
        train_on: values of the manifest's column split to train on; None is all of them.
        trials: development list: a path, a file in the folder `trials` of `trials_root`, or there the name of an
            official list such as "vox1_o_cleaned"; None draws `heldout_trials` over `heldout_speakers`.
        trials_root: folder, or list of folders, of the list's audio, prepared or not; None is `root`.
        n_speakers: only the first so many in name order; None takes all.
        split: shares of train, val and test, or a list of them like VoxCeleb's iden_split.txt; it divides all rows, in
            place of `train_on` and `trials`. None is the manifest's own division, if it has train and val.
        split_by: what the shares are drawn by: utterance, session or speaker.
        heldout_speakers: how many, where neither a list nor a split is given.
        heldout_trials: how many are drawn, where no list is given.
        allow_overlap: train although training speakers are in the list, whose EER then flatters the model.
        task: "verification" or "identification".
        seed: of the held-out speakers, the split and the trials.
        fraction: of each speaker's training utterances that is trained on; 1 is all.

    Raises:
        ValueError: for a fraction out of range.
    """

    root: str | list[str]
    train_on: list[str] | None
    trials: str | None
    trials_root: str | list[str] | None
    n_speakers: int | None
    split: dict[str, float] | str | None
    split_by: str
    heldout_speakers: int
    heldout_trials: int
    allow_overlap: bool
    task: str
    seed: int
    fraction: float = 1.0

    def __post_init__(self):
        check_fraction(self.fraction)
        self.division = Division(self.task, self.n_speakers, self.split, self.split_by, self.heldout_trials, self.seed)

    def load(self, progress: Progress | None = None) -> Corpus:
        """Read the manifests, divide, find or draw the trials."""
        files = [manifest_at(path, "data.root") for path in paths_of(self.root)]
        tables = [read_manifest(file) for file in files]
        _check_apart(tables, files)
        table = tables[0] if len(tables) == 1 else concat_manifests(tables)
        corpus = self.division.corpus(table, [file.parent for file in files])
        if corpus is None:
            rows = self.division.limited(self._training_rows(table))
            if self.trials is not None:
                corpus = self._with_listed_trials(rows, [file.parent for file in files])
            else:
                corpus = with_held_out_trials(rows, self.heldout_speakers, self.heldout_trials, self.seed)
            corpus = replace(corpus, notes=(f"{len(corpus.trials):,} development trials", *corpus.notes))
        if corpus.trials is not None:
            check_both_kinds(corpus.trials)
        return replace(corpus, notes=(_summary(corpus.train), *corpus.notes), fraction=self.fraction)

    def _training_rows(self, table: pa.Table) -> pa.Table:
        if self.train_on is None:
            return table
        return rows_of_splits(table, self.train_on, f"data.train_on={self.train_on}: data.root={self.root}")

    def _with_listed_trials(self, train: pa.Table, folders: list[Path]) -> Corpus:
        roots = paths_of(self.trials_root) or folders
        trials, files = find_trials_and_files(self.trials, roots)
        notes = check_strangers(trials, roots, speakers_of(train), self.allow_overlap)
        return Corpus(train, trials, files, notes)


def _check_apart(tables: list[pa.Table], files: list[Path]) -> None:
    """One name in two manifests may be two people, who would be trained as one."""
    seen: dict[str, Path] = {}
    for table, file in zip(tables, files, strict=True):
        for speaker in speakers_of(table):
            if speaker in seen:
                raise InputError(f"speaker {speaker} is in {seen[speaker]} and in {file}: rename one, or join them")
        seen |= dict.fromkeys(speakers_of(table), file)


def _summary(table: pa.Table) -> str:
    hours = seconds_of(table).sum() / 3600
    return f"training on {len(table):,} utterances of {len(speakers_of(table)):,} speakers, {hours:.1f} h"
