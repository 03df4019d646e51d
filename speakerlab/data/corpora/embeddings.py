"""Saved embeddings of several networks as a corpus: what a fusion of them is trained on."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus, with_held_out_trials
from speakerlab.data.development import read_development_trials, run_folder
from speakerlab.data.division import Division
from speakerlab.data.embedding_files.branches import Branches, check_splits, join, told
from speakerlab.data.embedding_files.formats import read_embeddings
from speakerlab.data.fraction import check_fraction
from speakerlab.data.manifest import as_manifest, speakers_of
from speakerlab.data.splits import part_of
from speakerlab.data.trials import Trials, check_both_kinds, read_trials

SAVE = "python evaluate.py ckpt=RUN save_embeddings=PATH save_corpus=true"


@dataclass
class EmbeddingsCorpus:
    """Files or folders of embeddings, one a network, with the same utterances, of which at least one names speakers.

    Args:
        branches: the sources, in the order of the model's branches or by their names.
        trials: development trial list over these utterances; None is that of the run whose checkpoint gave the
            embeddings. Where they are of no such run, trials are drawn, over the speakers of the split val or
            `heldout_speakers`.
        split: shares of train, val and test, or a list of them; see `speakerlab.data.division`. None is the split that
            was saved with the embeddings, if there is one.
        split_by: what the shares are drawn by: utterance or speaker.
        heldout_speakers: how many, where neither a list nor a split is there.
        heldout_trials: how many are drawn, where no list is there.
        allow_overlap: train although training speakers are in the list, whose EER then flatters the model.
        task: "verification" or "identification".
        seed: of the held-out speakers, the split and the trials.
        fraction: of each speaker's training utterances that is trained on; 1 is all.

    Raises:
        InputError: if settings do not go together.
        ValueError: for a fraction out of range.
    """

    branches: list[str] | dict[str, str]
    trials: str | None
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
        if not isinstance(self.branches, list | dict) or not self.branches:
            raise InputError(f"data.branches={self.branches} must be a list of files or folders of embeddings")
        for given in self.branches.values() if isinstance(self.branches, dict) else self.branches:
            if not isinstance(given, str):
                raise InputError(f"data.branches: {given} is no file or folder of embeddings")
        if self.trials is not None and self.split is not None:
            raise InputError("data.trials and data.split both say what training is judged by: give one of them")
        if self.trials is not None and self.task == "identification":
            raise InputError("data.trials is for task=verification; identification is judged by the split val")
        self.division = Division(self.task, None, self.split, self.split_by, self.heldout_trials, self.seed)

    def load(self, progress: Progress | None = None) -> Corpus:
        """Read and join the sources, divide the utterances, find or draw the trials."""
        branches = self._read()
        speakers, splits = told(branches, "speakers"), told(branches, "splits")
        if speakers is None:
            named = ", ".join(source.source for source in branches.sources)
            raise InputError(f"{named}: none says speakers; save one with them (a column speaker), as {SAVE} does")
        if self.split is None:
            check_splits(branches)
        table = _manifest(branches.sources[0].names, speakers, splits)
        corpus = self._divided(table, branches)
        if not len(corpus.train):
            raise InputError(f"{branches.sources[0].source}: none of its {len(table):,} utterances is left to train on")
        if corpus.trials is not None:
            check_both_kinds(corpus.trials)
        notes = (_summary(corpus, branches), *corpus.notes)
        return replace(corpus, saved=branches, notes=notes, fraction=self.fraction)

    def _read(self) -> Branches:
        labels = list(self.branches) if isinstance(self.branches, dict) else None
        given = list(self.branches.values()) if isinstance(self.branches, dict) else self.branches
        return join([read_embeddings(one, "data.branches") for one in given], labels)

    def _divided(self, table: pa.Table, branches: Branches) -> Corpus:
        if self.task == "verification" and self.split is None:
            corpus = self._judged_by_a_list(table, branches)
            if corpus is not None:
                return corpus
        folders = [Path(source.source).parent for source in branches.sources]
        corpus = self.division.corpus(table, folders)
        if corpus is None:
            corpus = with_held_out_trials(table, self.heldout_speakers, self.heldout_trials, self.seed)
            corpus = replace(corpus, notes=(f"{len(corpus.trials):,} development trials", *corpus.notes))
        return replace(corpus, development=[], test_files=[])  # a manifest's files, which are none here

    def _judged_by_a_list(self, table: pa.Table, branches: Branches) -> Corpus | None:
        """By the list that the user gave, or that of the run which the embeddings are of; None where there is none."""
        if self.trials is not None:
            return self._with_trials(table, branches, read_trials(Path(self.trials).expanduser()), [])
        checkpoint = branches.sources[0].checkpoint
        run = None if checkpoint is None else run_folder(Path(checkpoint))
        if run is None or "val" not in table["split"].unique().to_pylist():
            return None
        if (run / "utterances").is_dir():  # it identified speakers: its split tells who is judged
            return None
        try:
            trials, files = read_development_trials(run)
        except InputError as error:
            raise InputError(
                f"{branches.sources[0].source} is of {checkpoint}, and the development trials of its run are gone: "
                "give data.trials=LIST"
            ) from error
        corpus = self._with_trials(table, branches, trials, files)
        if (run / "trials" / "test.txt").is_file():
            further, files = read_development_trials(run, "test")
            corpus = replace(corpus, test_trials=further, test_files=files)
        return replace(corpus, notes=(*corpus.notes, f"development trials of {run}"))

    def _with_trials(self, table: pa.Table, branches: Branches, trials: Trials, files: list[Path]) -> Corpus:
        """Trained on the split train; where none is told, on the speakers who are not in the trials."""
        rows = branches.rows_of(trials.utterances, trials.source)
        judged = table["speaker"].take(pa.array(rows)).unique()
        if "train" in table["split"].unique().to_pylist():
            train = part_of(table, "train")
        else:
            train = table.filter(pc.invert(pc.is_in(table["speaker"], value_set=judged)))
        shared = sorted(set(judged.to_pylist()) & set(speakers_of(train)))
        notes: tuple[str, ...] = ()
        if shared:
            problem = f"{trials.source}: {len(shared):,} of its speakers are trained on, such as {shared[0]}"
            if not self.allow_overlap:
                raise InputError(f"{problem}; use a list over other speakers, or force it with data.allow_overlap=true")
            notes = (f"{problem}: the EER flatters the model",)
        return Corpus(train, trials, files, (f"{len(trials):,} development trials", *notes))


def _manifest(names: list[str], speakers: list[str], splits: list[str] | None) -> pa.Table:
    """A manifest of utterances without audio, each as long as the others."""
    rows = len(names)
    nothing, one = pa.array([""] * rows), pa.array([1] * rows)
    columns = {
        "utterance": names,
        "speaker": speakers,
        "session": nothing,
        "root": nothing,
        "path": names,
        "first_sample": pa.array([0] * rows),
        "samples": one,
        "sample_rate": one,
        "split": nothing if splits is None else splits,
        "gender": nothing,
    }
    return as_manifest(pa.table(columns), "saved embeddings")


def _summary(corpus: Corpus, branches: Branches) -> str:
    each = ", ".join(f"{source.source} ({source.rows.shape[1]})" for source in branches.sources)
    return (
        f"training on saved embeddings of {len(corpus.train):,} utterances of {len(corpus.speakers):,} speakers; "
        f"sources and their sizes: {each}"
    )
