"""Any folder of recordings, one folder a speaker, as a corpus."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.amounts import counted
from speakerlab.data.corpus import Corpus, check_apart, check_strangers, speaker_folders, with_held_out_trials
from speakerlab.data.decodable import undecodable
from speakerlab.data.division import NEEDS_CLOSED_SET, Division
from speakerlab.data.fraction import check_fraction
from speakerlab.data.left_out import BadFile, commonest, refusal, too_many
from speakerlab.data.manifest import files_of, speakers_of, without_files, write_rows
from speakerlab.data.scan import ScanResult, check_settings, scan_folders
from speakerlab.data.tree import paths_of
from speakerlab.data.trials import check_both_kinds, find_trials_and_files


@dataclass
class FolderCorpus:
    """A tree `speaker/**/audio`, or a list of such trees; formats that `soundfile` or PyAV reads.

    Args:
        root: folder, or list of folders.
        trials: development trial list, or the name of an official one such as "vox1_o_cleaned" in `trials_root`; None
            draws `heldout_trials` over `heldout_speakers`, which are not trained on.
        trials_root: folder, or list of folders, that the list's paths start from; None is the list's own folder.
        n_speakers: only the first so many in name order; None takes all.
        split: shares of train, val and test, or a list of them like VoxCeleb's iden_split.txt, in place of held-out
            speakers; see `speakerlab.data.division`.
        split_by: what the shares are drawn by: utterance, session or speaker.
        heldout_speakers: how many, where neither a list nor a split is given.
        heldout_trials: how many are drawn, where no list is given.
        allow_overlap: train although training speakers are in the list, whose EER then flatters the model.
        min_seconds: shorter files are left out.
        stereo: "quarantine" leaves files with several channels out, "mix" averages the channels.
        max_bad_share: more unusable files than this share are an error.
        task: "verification" or "identification".
        seed: of the held-out speakers, the split and the trials.
        cache_dir: keeps the manifests.
        fraction: of each speaker's training utterances that is trained on; 1 is all.

    Raises:
        ValueError: for a setting out of range.
    """

    root: str | list[str]
    trials: str | None
    trials_root: str | list[str] | None
    n_speakers: int | None
    split: dict[str, float] | str | None
    split_by: str
    heldout_speakers: int
    heldout_trials: int
    allow_overlap: bool
    min_seconds: float
    stereo: str
    max_bad_share: float
    task: str
    seed: int
    cache_dir: str
    fraction: float = 1.0

    def __post_init__(self):
        check_fraction(self.fraction)
        self.division = Division(self.task, self.n_speakers, self.split, self.split_by, self.heldout_trials, self.seed)
        if self.split is None and self.task == "identification":
            raise InputError(NEEDS_CLOSED_SET)
        if self.split is not None and self.trials is not None:
            raise InputError("data.trials and data.split both say what training is judged by: give one of them")
        try:
            check_settings(self.min_seconds, self.stereo, self.max_bad_share)
        except InputError as error:
            raise ValueError(str(error)) from error  # which the config's key is put before
        if self.trials is None and self.heldout_trials < 2:
            raise ValueError(f"heldout_trials={self.heldout_trials} must be at least 2")
        if self.trials is None and self.trials_root is not None:
            raise InputError("data.trials_root is given without data.trials: add data.trials=LIST")

    def load(self, progress: Progress | None = None) -> Corpus:
        """Scan, divide, find or draw the trials, and check that no training speaker is among them.

        Files that the model would be judged by are decoded first. Those that can't be are left out, as those with a
        broken header are; while training, none could be replaced by another.
        """
        roots = paths_of(self.root)
        scan = scan_folders(
            roots,
            Path(self.cache_dir).expanduser(),
            min_seconds=self.min_seconds,
            stereo=self.stereo,
            max_bad_share=self.max_bad_share,
            progress=progress,
        )
        corpus, bad = self._divided(scan.manifest, roots), []
        while more := self._undecodable(corpus, progress):
            bad += more
            self._check_share(scan, bad)
            paths = [file.path for file in bad]
            if corpus.trials is None:  # every speaker stays in every part, with fewer utterances
                validation, test = (without_files(part, paths) for part in (corpus.validation, corpus.test))
                corpus = replace(corpus, validation=validation, test=test)
            else:
                corpus = self._divided(without_files(scan.manifest, paths), roots)
        if bad:
            note = f"left out {counted(len(bad), 'file')} that can't be decoded, to be judged by others"
            corpus = replace(corpus, notes=(f"{note}; listed in {self._listed}", *corpus.notes))
        if corpus.trials is not None:
            forced = check_apart(speaker_folders(corpus.train), corpus.development, self.allow_overlap)
            corpus = replace(corpus, notes=(*corpus.notes, *forced))
            check_both_kinds(corpus.trials)
        return replace(corpus, notes=(scan.summary(), *corpus.notes), fraction=self.fraction)

    def _divided(self, table: pa.Table, roots: list[Path]) -> Corpus:
        corpus = self.division.corpus(table, roots)
        if corpus is not None:
            return corpus
        table = self.division.limited(table)
        if self.trials is not None:
            corpus = self._with_listed_trials(table)
        else:
            corpus = with_held_out_trials(table, self.heldout_speakers, self.heldout_trials, self.seed)
        return replace(corpus, notes=(f"{len(corpus.trials):,} development trials", *corpus.notes))

    def _undecodable(self, corpus: Corpus, progress: Progress | None) -> list[BadFile]:
        """Files to judge by that can't be decoded; those of a list that the user gave are the user's."""
        files = [] if self.trials is not None else [*corpus.development, *corpus.test_files]
        for table in (corpus.validation, corpus.test):
            files += files_of(table, np.arange(len(table))) if table is not None else []
        return undecodable(files, self._listed.with_name("decoded.jsonl"), progress)

    @property
    def _listed(self) -> Path:
        return Path(self.cache_dir).expanduser() / "manifests" / "undecodable.csv"

    def _check_share(self, scan: ScanResult, bad: list[BadFile]) -> None:
        """List them; the share of unusable files counts both kinds."""
        write_rows(self._listed, [BadFile._fields, *bad])
        unusable, total = len(scan.quarantined) + len(bad), len(scan.quarantined) + scan.manifest.num_rows
        if too_many(unusable, total, self.max_bad_share):
            setting, share = "data.max_bad_share", self.max_bad_share
            raise refusal(scan.name, unusable, total, "audio file", setting, share, commonest(bad), self._listed)

    def _with_listed_trials(self, table) -> Corpus:
        if table.num_rows == 0:
            raise InputError(f"data.root={self.root} holds no usable utterance")
        roots = paths_of(self.trials_root)
        trials, files = find_trials_and_files(self.trials, roots)
        notes = check_strangers(trials, roots, speakers_of(table), self.allow_overlap)
        return Corpus(table, trials, files, notes)
