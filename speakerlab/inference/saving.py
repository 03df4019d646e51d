"""Embeddings that are kept: of what is evaluated, or of a run's whole corpus, to train on."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.development import read_development_trials, read_utterances, run_folder
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import write_embeddings
from speakerlab.data.manifest import manifest_at, read_manifest
from speakerlab.data.trial_speakers import speaker_names, speakers_by_targets
from speakerlab.data.utterances import Utterances, joined_utterances, utterances_in_files, utterances_of_rows
from speakerlab.inference.material import training_rows

KEY = "save_corpus"
log = logging.getLogger("speakerlab")


def save(
    path: Path, utterances: Utterances, rows: np.ndarray, checkpoint: Path | None, splits: list[str] | None = None
) -> None:
    """Write a file of embeddings with what is known of them, and tell so.

    Args:
        path: as `place_of` gives it.
        utterances: with their speakers, where known.
        rows: `(utterances, dim)`.
        checkpoint: that gave them; None for embeddings that were saved before.
        splits: of the utterances, where known.
    """
    found = checked(utterances.names, rows, "the model's embeddings", utterances.speakers, splits)
    write_embeddings(path, replace(found, checkpoint=None if checkpoint is None else str(checkpoint)))
    log.info(f"{len(found):,} embeddings are in {path}")


def whole_corpus(
    cfg: DictConfig, checkpoint: Path, progress: Progress | None = None
) -> tuple[Utterances, list[str] | None]:
    """Every utterance of the manifest `manifest=`, or of the run that a checkpoint is of: what it was trained on, and
    what it is judged by; with speakers, and the split of each where it is known.

    The speakers of development trials are told apart by the trials' labels; see `speakers_by_targets`.

    Args:
        cfg: of the evaluation.
        checkpoint: in its run's folder, unless there is a manifest.
        progress: of reading headers.

    Raises:
        InputError: if the training data can't be found, or an utterance of it is called like one of the trials.
    """
    if cfg.manifest is not None:
        table = read_manifest(manifest_at(cfg.manifest, "manifest"))
        return utterances_of_rows(table), _splits_of(table)
    run = run_folder(checkpoint)
    if run is None:
        raise InputError(f"{KEY}=true: {checkpoint} lies in no run's folder; give manifest=MANIFEST")
    parts = {"train": utterances_of_rows(training_rows(checkpoint, KEY, progress))}
    if (run / "utterances").is_dir():
        for part in ("val", "test"):
            if (run / "utterances" / f"{part}.parquet").is_file():
                parts[part] = utterances_of_rows(read_utterances(run, part))
    else:
        for part, name in (("val", "development"), ("test", "test")):
            if (run / "trials" / f"{name}.txt").is_file():
                parts[part] = _of_trials(run, name)
    _check_names(parts)
    return joined_utterances(list(parts.values())), [part for part, some in parts.items() for _ in some.names]


def _splits_of(table: pa.Table) -> list[str] | None:
    splits = table["split"].to_pylist()
    return splits if all(splits) else None


def _of_trials(run: Path, name: str) -> Utterances:
    trials, files = read_development_trials(run, name)
    speakers = speaker_names(trials.utterances, speakers_by_targets(trials))
    return utterances_in_files(trials.utterances, files or None, speakers.tolist())


def _check_names(parts: dict[str, Utterances]) -> None:
    seen: dict[str, str] = {}
    for part, utterances in parts.items():
        for name in utterances.names:
            if name in seen:
                raise InputError(
                    f"{KEY}=true: utterances of {seen[name]} and of {part} are both called {name}; rename the files or "
                    "folders of one of them"
                )
        seen |= dict.fromkeys(utterances.names, part)
