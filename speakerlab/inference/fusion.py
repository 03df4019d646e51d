"""Scores from files: one system's, or several systems' fused."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.data.score_files import ScoreFile, in_order_of, read_scores
from speakerlab.data.tree import make_folder, paths_of
from speakerlab.data.trials import Trials, find_list, read_trials
from speakerlab.scoring.calibration import train_calibration

log = logging.getLogger("speakerlab")


@dataclass(frozen=True, eq=False)
class Systems:
    """Scores of several systems over one list.

    Attributes:
        trials: the list.
        scores: name of a system -> `(trials,)`.
        paths: the files.
    """

    trials: Trials
    scores: dict[str, np.ndarray]
    paths: list[Path]

    @property
    def name(self) -> str:
        """What files about them are called."""
        return "fusion" if len(self.scores) > 1 else next(iter(self.scores))

    @property
    def source(self) -> str:
        """The files in one line."""
        return " + ".join(map(str, self.paths))

    @property
    def table(self) -> np.ndarray:
        """`(trials, systems)`."""
        return np.stack(list(self.scores.values()), axis=1)


def output_folder(cfg: DictConfig, systems: Systems) -> Path:
    """Where an evaluation of scores writes; made."""
    return make_folder(Path(cfg.output_dir or Path("outputs", "evaluate", systems.name)), "output_dir")


def read_systems(given: str | list[str], listed: Trials | None = None) -> Systems:
    """Files of scores, in the order of a list or else of the first file's trials.

    Args:
        given: paths.
        listed: the list, which says what is a target; None takes the first file's labels.

    Raises:
        InputError: if a file can't be read, lacks a trial, or contradicts the labels.
    """
    paths = paths_of(given)
    files = [read_scores(path) for path in paths]
    trials = files[0].trials() if listed is None else listed
    enrol, test = ([trials.utterances[i] for i in side] for side in (trials.enrol, trials.test))
    scores = {}
    for name, file in zip(names_of(paths), files, strict=True):
        rows = in_order_of(file, enrol, test, trials.source)
        _check_labels(file, rows, trials)
        scores[name] = file.scores[rows]
    return Systems(trials, scores, paths)


def find_listed(trials: str | None, roots: str | list[str] | None) -> Trials | None:
    """The list that `trials=` names; None where it names none."""
    return None if trials is None else read_trials(find_list(trials, paths_of(roots)))


def fuse(systems: Systems, development: Systems | None) -> np.ndarray | None:
    """Log-likelihood ratios `(trials,)` of all systems together; None for one system that nothing calibrates. A line
    tells the weights.

    Args:
        systems: to fuse.
        development: the same systems over another list, to learn the weights from; None learns them from `systems`,
            which a line warns of.

    Raises:
        InputError: if the two have different numbers of systems.
    """
    names = tuple(systems.scores)
    if development is None:
        if len(names) == 1:
            return None
        log.info(
            "the weights of the fusion are learned from the very trials that it is measured on, which flatters it: "
            "add development_scores=[...] of other trials"
        )
    learned = systems if development is None else development
    if len(learned.scores) != len(names):
        raise InputError(
            f"scores has {len(names)} systems and development_scores has {len(learned.scores)}: give the same systems "
            "in the same order"
        )
    calibration = train_calibration(learned.table, learned.trials.labels, names)
    weights = " + ".join(f"{weight:.4g} x {name}" for name, weight in zip(names, calibration.weights, strict=True))
    log.info(f"log-likelihood ratio = {weights} {calibration.offset:+.4g}")
    return calibration.llrs(systems.table)


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell them apart; the last without its suffix.

    Raises:
        InputError: if a file is given twice.
    """
    stems = [path.absolute().with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, stems)) + 1):
        names = ["/".join(parts[-depth:]) for parts in stems]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"scores={','.join(map(str, paths))}: a file is given twice")


def _check_labels(file: ScoreFile, rows: np.ndarray, trials: Trials) -> None:
    if file.labels is None:
        return
    wrong = np.flatnonzero(file.labels[rows] != trials.labels)
    if len(wrong):
        raise InputError(
            f"{file.source}: the labels of {len(wrong):,} trials are not those of {trials.source}, such as that of "
            f"{trials.utterances[trials.enrol[wrong[0]]]} {trials.utterances[trials.test[wrong[0]]]}"
        )
