"""The corpus `mini`: synthetic speakers in VoxCeleb's folders, made on first use so that a bare machine can train.

    dev/id00001/session1/00001.flac ...    speakers to train on
    test/id00081/session1/00001.flac ...   other speakers
    trials.txt                             `label enrol test` over the test speakers, paths from the root
    speakers.csv                           speaker,split,gender

104 speakers, half of them women, three sessions of four utterances each. A speaker's voice is the same in all of
them; channel, noise, level, and the day's pitch and effort are not. Targets are across sessions, non-targets within
a gender. All of it follows from (seed, speaker, session, utterance), whatever process writes it.

The generator is frozen: it was tuned against the cosine of mean MFCCs alone, before any model was trained on it.
A change to what it writes needs a new `GENERATOR_VERSION`.
"""

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress, usable_cpus
from speakerlab.data.corpus import Corpus, check_disjoint, select_rows
from speakerlab.data.division import Division
from speakerlab.data.fraction import check_fraction
from speakerlab.data.scan import scan_folder
from speakerlab.data.synthesis.layout import DEFAULT_LAYOUT, MiniLayout, draw_trials, speaker_gender, speaker_name
from speakerlab.data.synthesis.speech import write_speakers
from speakerlab.data.trials import locate_utterances, only_between, read_trials

GENERATOR_VERSION = 1
STALE_SECONDS = 24 * 3600


def make_mini(
    cache_dir: Path,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    layout: MiniLayout = DEFAULT_LAYOUT,
) -> Path:
    """The corpus's root, a folder in `cache_dir`; the first call writes it, which takes some seconds.

    The folder appears complete or not at all: it is written beside its place and renamed. Where two processes write
    at once, the first to finish wins and both use its copy, which is the same.

    Args:
        cache_dir: made if need be.
        workers: processes; by default one a usable CPU, at most 8. The bytes do not depend on it.
        progress: called with (files written, files in all).
        layout: another size or seed goes to a folder of its own.

    Raises:
        ValueError: if `workers` is less than 1.
        InputError: if the folder can't be written, or an incomplete one can't be removed.
        RuntimeError: if a worker process dies.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    root = Path(cache_dir).absolute() / _folder_name(layout)
    if _is_complete(root, layout):
        return root
    shutil.rmtree(root, ignore_errors=True)  # a cleaner of caches has taken some of it
    _remove_stale_drafts(root)
    draft = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    draft.mkdir(parents=True)
    try:
        total = len(layout.speakers) * layout.files_per_speaker
        for count, _ in enumerate(write_speakers(draft, layout, workers or _default_workers()), start=1):
            if progress is not None:
                progress(count * layout.files_per_speaker, total)
        _write_lists(draft, layout)
        _publish(draft, root, layout)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root


def _write_lists(root: Path, layout: MiniLayout) -> None:
    people = [f"{speaker_name(n)},{layout.split(n)},{speaker_gender(n)}\n" for n in layout.speakers]
    trials = [f"{label} {enrol} {test}\n" for label, enrol, test in draw_trials(layout)]
    (root / "speakers.csv").write_text("speaker,split,gender\n" + "".join(people), encoding="utf-8", newline="\n")
    (root / "trials.txt").write_text("".join(trials), encoding="utf-8", newline="\n")


def _publish(draft: Path, root: Path, layout: MiniLayout) -> None:
    """Put the finished draft in its place, unless another process was quicker."""
    try:
        draft.rename(root)
    except OSError as error:  # a folder that is not empty cannot be renamed onto
        if not _is_complete(root, layout):
            raise InputError(f"{root} is not a complete corpus: remove it, and it is made anew") from error


def _is_complete(root: Path, layout: MiniLayout) -> bool:
    lists = all((root / name).is_file() for name in ("speakers.csv", "trials.txt"))
    return lists and sum(1 for _ in root.rglob("*.flac")) == len(layout.speakers) * layout.files_per_speaker


def _remove_stale_drafts(root: Path) -> None:
    """Remove what killed processes left, once nobody can still be writing it."""
    for draft in root.parent.glob(f".{root.name}.*"):
        if time.time() - draft.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(draft, ignore_errors=True)


def _folder_name(layout: MiniLayout) -> str:
    name = f"mini-v{GENERATOR_VERSION}"
    return name if layout == DEFAULT_LAYOUT else "-".join([name, *map(str, astuple(layout))])


def _default_workers() -> int:
    """Usable CPUs, at most 8: more would take longer to start than they save."""
    return min(usable_cpus(), 8)


@dataclass
class MiniCorpus:
    """The embedded corpus. For verification with its own split and trials; for identification, the speakers of `dev`
    with one of their three sessions for each part.

    Args:
        task: "verification" or "identification".
        seed: which session is for what.
        cache_dir: where it is made on first use.
        test_speakers: the first so many judge, in name order, every second one a woman; None takes all.
        fraction: of each speaker's training utterances that is trained on; 1 is all.

    Raises:
        ValueError: if `test_speakers` is less than 4, which leaves no pair of a gender, or the fraction out of range.
    """

    task: str
    seed: int
    cache_dir: str
    test_speakers: int | None = None
    fraction: float = 1.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        if self.test_speakers is not None and self.test_speakers < 4:
            raise ValueError(f"test_speakers={self.test_speakers} must be at least 4")

    def load(self, progress: Progress | None = None) -> Corpus:
        """Make the corpus if need be; train on `dev`, be judged on `test`, or on other sessions of `dev`."""
        cache_dir = Path(self.cache_dir).expanduser()
        root = make_mini(cache_dir, progress=progress)
        scan = scan_folder(root / "dev", cache_dir, min_seconds=0.5, stereo="quarantine", max_bad_share=0.0)
        note = f"mini: {scan.summary()}"
        if self.task == "identification":
            thirds = dict.fromkeys(("train", "val", "test"), 1 / 3)
            division = Division(self.task, None, thirds, by="session", trials=0, seed=self.seed)
            corpus = division.corpus(scan.manifest, [])
            judges = sorted(corpus.speakers)[: self.test_speakers]
            rows = pc.is_in(corpus.validation["speaker"], value_set=pa.array(judges)).to_numpy()
            validation = select_rows(corpus.validation, rows)
            notes = (note, *corpus.notes)
            if len(validation) < len(corpus.validation):
                notes += (f"of val, the {len(validation):,} utterances of the first {len(judges):,} speakers",)
            return replace(corpus, validation=validation, notes=notes, fraction=self.fraction)
        trials = read_trials(root / "trials.txt")
        judges = sorted({_speaker(name) for name in trials.utterances})[: self.test_speakers]
        trials = only_between(trials, [_speaker(name) in judges for name in trials.utterances])
        files = locate_utterances(trials, [root])
        corpus = Corpus(scan.manifest, trials, files, notes=(note,), fraction=self.fraction)
        check_disjoint(corpus.train, corpus.development)
        return corpus


def _speaker(utterance: str) -> str:
    """`id00081` of `test/id00081/session1/00001.flac`."""
    return utterance.split("/")[1]
