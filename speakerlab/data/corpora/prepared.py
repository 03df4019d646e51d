"""Corpora that `speakerlab prepare` or `speakerlab resplit` has written: a folder with a manifest, and trial lists."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus, voxceleb1_overlap, with_held_out_trials
from speakerlab.data.division import Division
from speakerlab.data.manifest import MANIFEST, concat_manifests, read_manifest, seconds_of, speakers_of
from speakerlab.data.splits import part_of
from speakerlab.data.trials import Trials, check_both_kinds, find_list, locate_utterances, read_trials
from speakerlab.data.utterance_names import rows_named


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

    def __post_init__(self):
        self.division = Division(self.task, self.n_speakers, self.split, self.split_by, self.heldout_trials, self.seed)

    def load(self, progress: Progress | None = None) -> Corpus:
        """Read the manifests, divide, find or draw the trials."""
        files = [_manifest_path(path) for path in _paths(self.root)]
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
        return replace(corpus, notes=(_summary(corpus.train), *corpus.notes))

    def _training_rows(self, table: pa.Table) -> pa.Table:
        if self.train_on is None:
            return table
        rows = part_of(table, *self.train_on)
        if not len(rows):
            there = ", ".join(sorted(map(repr, pc.unique(table["split"]).to_pylist())))
            raise InputError(f"data.train_on={self.train_on} chooses no utterance of data.root; its splits are {there}")
        return rows

    def _with_listed_trials(self, train: pa.Table, folders: list[Path]) -> Corpus:
        roots = folders if self.trials_root is None else _paths(self.trials_root)
        trials = read_trials(find_list(self.trials, roots))
        files = locate_utterances(trials, roots)
        shared = _shared_speakers(train, trials, roots)
        if not shared:
            return Corpus(train, trials, files)
        problem = f"{trials.source}: {len(shared):,} of its speakers are trained on, such as {shared[0]}"
        if not self.allow_overlap:
            raise InputError(
                f"{problem}; use a list over other speakers (Vox1-E and Vox1-H are over VoxCeleb1's dev, for models "
                "trained on VoxCeleb2), or force it with data.allow_overlap=true"
            )
        return Corpus(train, trials, files, (f"{problem}: the EER flatters the model",))


def _paths(given: str | list[str]) -> list[Path]:
    return [Path(path).expanduser() for path in ([given] if isinstance(given, str) else given)]


def _manifest_path(root: Path) -> Path:
    file = root / MANIFEST if root.is_dir() else root
    if not file.is_file():
        raise InputError(f"data.root={root}: holds no {MANIFEST}; make it with `speakerlab prepare`")
    return file


def _check_apart(tables: list[pa.Table], files: list[Path]) -> None:
    """One name in two manifests may be two people, who would be trained as one."""
    seen: dict[str, Path] = {}
    for table, file in zip(tables, files, strict=True):
        for speaker in speakers_of(table):
            if speaker in seen:
                raise InputError(f"speaker {speaker} is in {seen[speaker]} and in {file}: rename one, or join them")
        seen |= dict.fromkeys(speakers_of(table), file)


def _shared_speakers(train: pa.Table, trials: Trials, roots: list[Path]) -> list[str]:
    """Training speakers in the list, by the manifests of its audio and by VoxCeleb1's names."""
    trained = speakers_of(train)
    shared = set(voxceleb1_overlap(trials.utterances, trained))
    for root in roots:
        if (root / MANIFEST).is_file():
            table = read_manifest(root / MANIFEST)
            rows = rows_named(table, trials.utterances)
            shared |= set(pc.unique(table["speaker"].take(pa.array(rows[rows >= 0]))).to_pylist()) & set(trained)
    return sorted(shared)


def _summary(table: pa.Table) -> str:
    hours = seconds_of(table).sum() / 3600
    return f"training on {len(table):,} utterances of {len(speakers_of(table)):,} speakers, {hours:.1f} h"
