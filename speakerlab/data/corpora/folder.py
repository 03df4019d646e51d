"""Any folder of recordings, one folder a speaker, as a corpus."""

from dataclasses import dataclass, replace
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.corpus import Corpus, check_disjoint, hold_out_speakers
from speakerlab.data.manifest import file_of
from speakerlab.data.scan import check_settings, scan_folders
from speakerlab.data.trials import check_both_kinds, draw_trials, locate_utterances, read_trials


@dataclass
class FolderCorpus:
    """A tree `speaker/**/audio`, or a list of such trees; formats that `soundfile` or PyAV reads.

    Args:
        root: folder, or list of folders.
        trials: development trial list; None draws `heldout_trials` over `heldout_speakers`, which are not trained on.
        trials_root: folder, or list of folders, that the list's paths start from; None is the list's own folder.
        heldout_speakers: how many, where no list is given.
        heldout_trials: how many, where no list is given.
        min_seconds: shorter files are left out.
        stereo: "quarantine" leaves files with several channels out, "mix" averages the channels.
        max_bad_share: more unusable files than this share are an error.
        seed: of the held-out speakers and their trials.
        cache_dir: keeps the manifests.

    Raises:
        ValueError: for a setting out of range.
    """

    root: str | list[str]
    trials: str | None
    trials_root: str | list[str] | None
    heldout_speakers: int
    heldout_trials: int
    min_seconds: float
    stereo: str
    max_bad_share: float
    seed: int
    cache_dir: str

    def __post_init__(self) -> None:
        try:
            check_settings(self.min_seconds, self.stereo, self.max_bad_share)
        except InputError as error:
            raise ValueError(str(error)) from error  # which the config's key is put before
        if self.trials is None and self.heldout_trials < 2:
            raise ValueError(f"heldout_trials={self.heldout_trials} must be at least 2")

    def load(self, progress: Progress | None = None) -> Corpus:
        """Scan, find or draw the trials, and check that no training speaker is among them."""
        if self.trials is None and self.trials_root is not None:
            raise InputError("data.trials_root is given without data.trials: add data.trials=LIST")
        scan = scan_folders(
            _paths(self.root),
            Path(self.cache_dir).expanduser(),
            min_seconds=self.min_seconds,
            stereo=self.stereo,
            max_bad_share=self.max_bad_share,
            progress=progress,
        )
        if self.trials is None:
            corpus = self._with_drawn_trials(scan.manifest)
        else:
            corpus = self._with_listed_trials(scan.manifest)
        check_disjoint(corpus.train, corpus.development)
        check_both_kinds(corpus.trials)
        return replace(corpus, notes=(scan.summary(), f"{len(corpus.trials):,} development trials"))

    def _with_drawn_trials(self, table) -> Corpus:
        train, held_out = hold_out_speakers(table, self.heldout_speakers, self.seed)
        trials = draw_trials(held_out, self.heldout_trials, self.seed)
        rows = {utterance: row for row, utterance in enumerate(held_out["utterance"].to_pylist())}
        return Corpus(train, trials, [file_of(held_out, rows[utterance]) for utterance in trials.utterances])

    def _with_listed_trials(self, table) -> Corpus:
        path = Path(self.trials).expanduser()
        trials = read_trials(path)
        roots = _paths(self.trials_root) if self.trials_root else [path.parent]
        if table.num_rows == 0:
            raise InputError(f"data.root={self.root} holds no usable utterance")
        return Corpus(table, trials, locate_utterances(trials, roots))


def _paths(given: str | list[str]) -> list[Path]:
    return [Path(path).expanduser() for path in ([given] if isinstance(given, str) else given)]
