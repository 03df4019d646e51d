"""Utterances of known speakers, which a back end is trained on and scores are normalised by."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.build import build_corpus, load_checkpoint
from speakerlab.config import ScoringConfig
from speakerlab.data import Progress
from speakerlab.data.corpus import select_rows, speaker_folders, voxceleb1_speakers
from speakerlab.data.manifest import MANIFEST, STATE, manifest_at, read_manifest, speaker_classes, speakers_of
from speakerlab.data.scan import scan_folder
from speakerlab.data.shards.index import Shards
from speakerlab.data.trials import Trials

log = logging.getLogger("speakerlab")
# The corpora that a checkpoint may name: they read files below folders, and no addresses.
CORPORA = ("folder.FolderCorpus", "mini.MiniCorpus", "prepared.PreparedCorpus")
GIVE = "MANIFEST or FOLDER"


@dataclass(frozen=True)
class Material:
    """Manifest rows; both None where nothing is trained and nothing normalised.

    Attributes:
        train: what a back end is trained on.
        cohort: impostors.
        within_train: `(cohort rows,)` rows of `train` that are the cohort's, so that they are embedded once; None where
            the cohort is of another source.
    """

    train: pa.Table | None = None
    cohort: pa.Table | None = None
    within_train: np.ndarray | None = None


def find_material(
    scoring: ScoringConfig | DictConfig,
    checkpoint: Path,
    trials: Trials,
    files: list[Path],
    cache_dir: str,
    progress: Progress | None = None,
) -> Material:
    """Read what `scoring` needs, without the speakers of the trials, which would be trained on or be their own
    impostors; who is left out is told in a line.

    Args:
        scoring: the config's group.
        checkpoint: whose training data serves where no other is given.
        trials: that are to be scored.
        files: audio of each of `trials.utterances`.
        cache_dir: keeps the manifests of folders.
        progress: of reading headers.

    Raises:
        InputError: if something can't be found, or fewer than two speakers are left.
    """

    def rows(key: str, path: str | None) -> pa.Table:
        found = _training_rows(checkpoint, key, progress) if path is None else _rows_at(path, key, cache_dir, progress)
        source = "the run's training data" if path is None else f"{key}={path}"
        left = without_speakers(found, trial_speakers(found, trials, files), source)
        return draw_utterances(left, scoring.utterances_per_speaker, scoring.seed)

    train = rows("scoring.train", scoring.train) if trains(scoring) else None
    if scoring.norm == "none":
        return Material(train)
    shared = train is not None and scoring.cohort == scoring.train
    source = train if shared else rows("scoring.cohort", scoring.cohort)
    chosen = draw_speakers(source, scoring.cohort_size, scoring.seed)  # (rows,)
    return Material(train, select_rows(source, chosen), np.flatnonzero(chosen) if shared else None)


def trains(scoring: ScoringConfig | DictConfig) -> bool:
    """Whether the recipe has a step that is trained."""
    return scoring.backend == "plda" or scoring.subtract_mean or scoring.lda is not None or scoring.wccn


def trial_speakers(table: pa.Table, trials: Trials, files: list[Path]) -> set[str]:
    """The speakers of a manifest who are in the trials: by their folders, links followed, and by VoxCeleb1's names."""
    known = voxceleb1_speakers(trials.utterances)
    shared = {name for name in speakers_of(table) if name.rpartition("/")[2] in known}
    real = [Path(os.path.realpath(file)) for file in files]
    of_trials = {str(place) for file in real for place in (file, *file.parents)}
    folders = speaker_folders(table) & of_trials
    if folders:
        places = pc.binary_join_element_wise(
            table["root"].cast(pa.string()),
            pc.replace_substring_regex(table["path"], "/[^/]*$", ""),
            table["speaker"],
            "\n",
        )
        for place in pc.unique(places).to_pylist():
            root, path, speaker = place.split("\n")
            real = Path(os.path.realpath(os.path.join(root, path)))
            if not folders.isdisjoint(map(str, (real, *real.parents))):
                shared.add(speaker)
    return shared


def without_speakers(table: pa.Table, names: set[str], source: str) -> pa.Table:
    """The rows of the other speakers; a line tells how many are left out.

    Raises:
        InputError: if fewer than two are left.
    """
    count = len(speakers_of(table))
    if count - len(names) < 2:
        raise InputError(f"{source}: {len(names)} of its {count} speakers are in the trials; give other speakers")
    if not names:
        return table
    log.info(f"{source}: {len(names)} of {count} speakers are in the trials and left out, such as {min(names)}")
    return select_rows(table, ~pc.is_in(table["speaker"], value_set=pa.array(sorted(names))).to_numpy())


def draw_utterances(table: pa.Table, most: int | None, seed: int) -> pa.Table:
    """At most so many rows of each speaker, drawn by `seed`, in the table's order."""
    if most is None:
        return table
    classes = speaker_classes(table, speakers_of(table))
    order = np.lexsort((np.random.default_rng(seed).random(len(classes)), classes))  # a speaker's rows, shuffled
    ordered = classes[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)  # among the speaker's
    return select_rows(table, np.isin(np.arange(len(order)), order[place < most]))


def draw_speakers(table: pa.Table, most: int | None, seed: int) -> np.ndarray:
    """Which rows `(rows,)` are of at most so many speakers, drawn by `seed`."""
    speakers = speakers_of(table)
    chosen = np.random.default_rng(seed).permutation(len(speakers))[:most]
    return np.isin(speaker_classes(table, speakers), chosen)


def _rows_at(path: str, key: str, cache_dir: str, progress: Progress | None) -> pa.Table:
    """A manifest, that of a prepared folder, or a scan of a tree of speakers."""
    folder = Path(path).expanduser()
    if folder.is_dir() and not (folder / MANIFEST).is_file() and not (folder / STATE).is_dir():
        settings = {"min_seconds": 0.5, "stereo": "mix", "max_bad_share": 0.05}
        scan = scan_folder(folder, Path(cache_dir).expanduser(), **settings, progress=progress)
        log.info(f"{key}: {scan.summary()}")
        return scan.manifest
    return read_manifest(manifest_at(path, key))


def _training_rows(checkpoint: Path, key: str, progress: Progress | None) -> pa.Table:
    """What a checkpoint's run was trained on, found anew by its config: a checkpoint holds no list of it."""
    contents = load_checkpoint(checkpoint)
    config = contents["config"]
    node = config.get("data") or {}
    if node.get("_target_") not in [f"speakerlab.data.corpora.{corpus}" for corpus in CORPORA]:
        raise InputError(f"{key}: the checkpoint's training data has no list of utterances; add {key}={GIVE}")
    try:
        table = build_corpus(OmegaConf.create(config), progress=progress).train
    except InputError as error:
        raise InputError(f"{key}: the run's training data can't be found ({error}); add {key}={GIVE}") from error
    assert not isinstance(table, Shards)
    trained = contents["speakers"][: len(contents["speakers"]) // contents.get("voices", 1)]
    kept = pc.is_in(table["speaker"], value_set=pa.array(trained, pa.string())).to_numpy()
    missing = len(set(trained) - set(speakers_of(table)))
    if missing:
        log.info(f"{key}: {missing} of {len(trained)} speakers that the run was trained on are gone from its data")
    return select_rows(table, kept)
