"""Utterances of known speakers, which a back end is trained on and scores are normalised by."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.build import build_corpus, load_checkpoint
from speakerlab.data import Progress
from speakerlab.data.corpus import select_rows, speaker_folders, voxceleb1_speakers
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.embedding_files.formats import read_embeddings
from speakerlab.data.manifest import MANIFEST, STATE, manifest_at, read_manifest, speakers_of
from speakerlab.data.scan import scan_folder
from speakerlab.data.shards.index import Shards
from speakerlab.data.utterances import Utterances, utterances_in_files, utterances_of_rows
from speakerlab.inference.embedding import SavedEmbedder
from speakerlab.losses.pair_mlp import PairMlp
from speakerlab.schema import ScoringConfig

log = logging.getLogger("speakerlab")
# The corpora that a checkpoint may name: they read files below folders, and no addresses.
CORPORA = ("folder.FolderCorpus", "mini.MiniCorpus", "prepared.PreparedCorpus", "embeddings.EmbeddingsCorpus")
GIVE = "MANIFEST or FOLDER"


@dataclass(frozen=True, eq=False)
class Known:
    """Utterances whose speakers are known.

    Attributes:
        utterances: with `speakers`.
        saved: gives their embeddings where these are in a file of their own; None where the evaluated model does.
    """

    utterances: Utterances
    saved: SavedEmbedder | None = None

    @property
    def classes(self) -> np.ndarray:
        """A number for each utterance's speaker, `(utterances,)`, from 0."""
        return _classes(self.utterances.speakers)


@dataclass(frozen=True, eq=False)
class Material:
    """What a recipe needs beside the trials; None where nothing is trained, normalised or decided by pairs.

    Attributes:
        train: what a back end is trained on.
        cohort: impostors.
        within_train: `(cohort utterances,)` rows of `train` that are the cohort's, so that they are embedded once; None
            where the cohort is of another source.
        pair_mlp: that the checkpoint was trained with.
    """

    train: Known | None = None
    cohort: Known | None = None
    within_train: np.ndarray | None = None
    pair_mlp: PairMlp | None = None


def find_material(
    scoring: ScoringConfig | DictConfig,
    checkpoint: Path | None,
    utterances: Utterances,
    cache_dir: str,
    progress: Progress | None = None,
) -> Material:
    """Find what `scoring` needs, without the speakers of the trials, who would be trained on or be their own impostors;
    how many are left out is told in a line.

    Args:
        scoring: the config's group.
        checkpoint: whose training data serves where no other is given; None for saved embeddings, beside which training
            data and cohort are files of embeddings with speakers.
        utterances: of the trials.
        cache_dir: keeps the manifests of folders.
        progress: of reading headers.

    Raises:
        InputError: if something can't be found, or fewer than two speakers are left.
    """

    def found(key: str, path: str | None) -> Source:
        source = _source(key, path, checkpoint, cache_dir, progress)
        left = without_speakers(source, trial_speakers(source, utterances))
        return left.take(draw_utterances(left.speakers, scoring.utterances_per_speaker, scoring.seed))

    train = found("scoring.train", scoring.train) if trains(scoring) else None
    if scoring.norm == "none":
        return Material(None if train is None else train.known())
    shared = train is not None and scoring.cohort == scoring.train
    source = train if shared else found("scoring.cohort", scoring.cohort)
    rows = draw_speakers(source.speakers, scoring.cohort_size, scoring.seed)
    cohort = source.take(rows).known()
    return Material(None if train is None else train.known(), cohort, rows if shared else None)


def trains(scoring: ScoringConfig | DictConfig) -> bool:
    """Whether the recipe has a step that is trained."""
    return scoring.backend == "plda" or scoring.subtract_mean or scoring.lda is not None or scoring.wccn


@dataclass(frozen=True, eq=False)
class Source:
    """Rows of a manifest, or saved embeddings, of known speakers.

    Attributes:
        name: for messages.
        rows: of either kind.
    """

    name: str
    rows: pa.Table | Embeddings

    @property
    def speakers(self) -> list[str]:
        """Of each row."""
        return self.rows["speaker"].to_pylist() if isinstance(self.rows, pa.Table) else self.rows.speakers

    def take(self, rows: np.ndarray) -> "Source":
        """Some rows `(rows,)`, rising."""
        if isinstance(self.rows, pa.Table):
            wanted = np.zeros(self.rows.num_rows, bool)
            wanted[rows] = True
            return replace(self, rows=select_rows(self.rows, wanted))
        names, speakers = ([column[row] for row in rows] for column in (self.rows.names, self.rows.speakers))
        return replace(self, rows=Embeddings(names, self.rows.rows[rows], speakers, self.rows.source))

    def known(self) -> Known:
        if isinstance(self.rows, pa.Table):
            return Known(utterances_of_rows(self.rows))
        named = utterances_in_files(self.rows.names, None, self.rows.speakers)
        return Known(named, SavedEmbedder(self.rows, self.name))


def trial_speakers(source: Source, utterances: Utterances) -> set[str]:
    """The speakers of a source who are in the trials: by the folders of their files, links followed, where embeddings
    are saved by the utterances' names, and by VoxCeleb1's names of speakers."""
    known = voxceleb1_speakers(utterances.names)
    shared = {name for name in set(source.speakers) if name.rpartition("/")[2] in known}
    if isinstance(source.rows, Embeddings):
        names = set(utterances.names)
        pairs = zip(source.rows.names, source.rows.speakers, strict=True)
        return shared | {speaker for name, speaker in pairs if name in names}
    if utterances.files is None:
        named = pc.is_in(source.rows["utterance"], value_set=pa.array(utterances.names, pa.string()))
        return shared | set(source.rows["speaker"].filter(named).to_pylist())
    return shared | _speakers_in_folders(source.rows, utterances.files)


def _speakers_in_folders(table: pa.Table, files: list[str]) -> set[str]:
    real = [Path(os.path.realpath(file)) for file in files]
    folders = speaker_folders(table) & {str(place) for file in real for place in (file, *file.parents)}
    if not folders:
        return set()
    folder = pc.replace_substring_regex(table["path"], "/[^/]*$", "")
    places = pc.binary_join_element_wise(table["root"].cast(pa.string()), folder, table["speaker"], "\n")
    shared = set()
    for place in pc.unique(places).to_pylist():
        root, path, speaker = place.split("\n")
        where = Path(os.path.realpath(os.path.join(root, path)))
        if not folders.isdisjoint(map(str, (where, *where.parents))):
            shared.add(speaker)
    return shared


def without_speakers(source: Source, names: set[str]) -> Source:
    """The rows of the other speakers; a line tells how many are left out.

    Raises:
        InputError: if fewer than two are left.
    """
    speakers = np.array(source.speakers)
    count = len(np.unique(speakers))
    if count - len(names) < 2:
        raise InputError(f"{source.name}: {len(names)} of its {count} speakers are in the trials; give other speakers")
    if not names:
        return source
    log.info(f"{source.name}: {len(names)} of {count} speakers are in the trials and left out, such as {min(names)}")
    return source.take(np.flatnonzero(~np.isin(speakers, sorted(names))))


def draw_utterances(speakers: list[str], most: int | None, seed: int) -> np.ndarray:
    """Which rows to take, rising, so that each speaker has at most so many; drawn by `seed`."""
    if most is None:
        return np.arange(len(speakers))
    classes = _classes(speakers)
    order = np.lexsort((np.random.default_rng(seed).random(len(classes)), classes))  # a speaker's rows, shuffled
    ordered = classes[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)  # among the speaker's
    return np.sort(order[place < most])


def draw_speakers(speakers: list[str], most: int | None, seed: int) -> np.ndarray:
    """Which rows to take, rising, so that they are of at most so many speakers; drawn by `seed`."""
    classes = _classes(speakers)
    chosen = np.random.default_rng(seed).permutation(classes.max() + 1)[:most]
    return np.flatnonzero(np.isin(classes, chosen))


def _classes(speakers: list[str]) -> np.ndarray:
    """A number for each speaker, from 0 in name order: `(rows,)`."""
    return np.unique(np.array(speakers), return_inverse=True)[1]


def _source(key: str, path: str | None, checkpoint: Path | None, cache_dir: str, progress: Progress | None) -> Source:
    if path is None:
        if checkpoint is None:
            raise InputError(f"{key} must be given: saved embeddings know no training data; add {key}=EMBEDDINGS")
        return Source("the run's training data", training_rows(checkpoint, key, progress))
    if checkpoint is not None:
        return Source(f"{key}={path}", _rows_at(path, key, cache_dir, progress))
    embeddings = read_embeddings(path, key)
    if embeddings.speakers is None:
        raise InputError(f"{key}={path}: says no speakers; save it with them (a column speaker)")
    return Source(f"{key}={path}", embeddings)


def _rows_at(path: str, key: str, cache_dir: str, progress: Progress | None) -> pa.Table:
    """A manifest, that of a prepared folder, or a scan of a tree of speakers."""
    folder = Path(path).expanduser()
    if folder.is_dir() and not (folder / MANIFEST).is_file() and not (folder / STATE).is_dir():
        settings = {"min_seconds": 0.5, "stereo": "mix", "max_bad_share": 0.05}
        scan = scan_folder(folder, Path(cache_dir).expanduser(), **settings, progress=progress)
        log.info(f"{key}: {scan.summary()}")
        return scan.manifest
    return read_manifest(manifest_at(path, key))


def training_rows(checkpoint: Path, key: str, progress: Progress | None) -> pa.Table:
    """What a checkpoint's run was trained on, found anew by its config: a checkpoint holds no list of it.

    Args:
        checkpoint: with the config.
        key: of the setting that wants it, for messages.
        progress: of reading headers.

    Raises:
        InputError: if it can't be found.
    """
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
