"""Scores of a trial list: their metrics, and the files that keep them."""

import csv
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.manifest import append_rows, write_rows
from speakerlab.data.trial_speakers import check_speakers, speakers_by_targets
from speakerlab.data.trials import Trials, check_both_kinds
from speakerlab.record import FILE_ONLY
from speakerlab.scoring.bootstrap import bootstrap_metrics, interval
from speakerlab.scoring.metrics import USUAL_POINTS, operating_point
from speakerlab.scoring.trial_metrics import trial_metrics as scoring_metrics

FEWEST_DRAWS, FEWEST_SPEAKERS = 100, 5  # from fewer, a 95 % interval is a number without meaning
log = logging.getLogger("speakerlab")


def trial_metrics(
    trials: Trials,
    scores: np.ndarray,
    draws: int,
    points: Sequence[str | float] = USUAL_POINTS,
    llrs: np.ndarray | None = None,
) -> dict[str, float]:
    """What `speakerlab.scoring.trial_metrics` gives; and of EER and each minDCF the ends `<name>_low` and `<name>_high`
    of the 95 % interval over speakers, where `draws` is above 0 and at least `FEWEST_SPEAKERS` have target trials.

    Args:
        trials: the list.
        scores: `(trials,)`.
        draws: of the intervals.
        points: operating points.
        llrs: `(trials,)` log-likelihood ratios, if the scores were calibrated.
    """
    metrics = scoring_metrics(scores, trials.labels, points, llrs)
    speakers = speakers_by_targets(trials)
    if draws and len(np.unique(speakers[trials.enrol[trials.labels == 1]])) >= FEWEST_SPEAKERS:
        sides = speakers[trials.enrol], speakers[trials.test]
        for name, drawn in bootstrap_metrics(scores, trials.labels, *sides, points, draws).items():
            metrics[f"{name}_low"], metrics[f"{name}_high"] = interval(drawn)
    return metrics


def check_numbers(draws: int, points: Sequence[str | float]) -> None:
    """Refuse, before anything is loaded, a number of bootstrap draws from which an interval would mean nothing, and
    operating points that are none."""
    if draws != 0 and draws < FEWEST_DRAWS:
        raise InputError(f"bootstrap_draws={draws} must be at least {FEWEST_DRAWS}, or 0 for no interval")
    for point in points:
        operating_point(point)


def check_trials(trials: Trials, draws: int) -> None:
    """Refuse, before anything is embedded, a list without error rates, or without speakers to draw."""
    check_both_kinds(trials)
    if draws:
        check_speakers(trials)


def keep_metrics(
    folder: Path, evaluated: Path | str, on: str, rows: dict[str, dict[str, float]], recipe: str | None = None
) -> None:
    """A line a system in the log and in the table of results `metrics/test_metrics.csv`, which has columns for trials
    and for identification; see `append_test_metrics`."""
    for system, metrics in rows.items():
        log.log(FILE_ONLY, f"{system} on {on}: " + ", ".join(f"{key} {value:.6g}" for key, value in metrics.items()))
    append_test_metrics(folder / "metrics" / "test_metrics.csv", evaluated, on, rows, recipe)


def append_test_metrics(
    path: Path, checkpoint: Path | str, source: str, rows: dict[str, dict[str, float]], recipe: str | None = None
) -> None:
    """Add a line a system to a table of results: when, which checkpoint or embeddings, on what, by which recipe of
    scoring if that is told, and the metrics.

    Metrics that the table does not have yet become columns of it, which are empty in its older lines.
    """
    date = datetime.now().isoformat(timespec="seconds")
    place = {"date": date, "checkpoint": str(checkpoint), "trials": source}
    how = {} if recipe is None else {"scoring": recipe}
    lines = [place | {"system": system} | how | metrics for system, metrics in rows.items()]
    columns = tuple(dict.fromkeys(name for line in lines for name in line))
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            older, known = list(table), tuple(table.fieldnames or ())
        if known[:4] == columns[:4]:  # any other table is refused below
            columns = tuple(dict.fromkeys((*known, *columns)))
            if columns != known:
                write_rows(path, [columns, *([row.get(name, "") for name in columns] for row in older)])
    append_rows(path, columns, lines)
