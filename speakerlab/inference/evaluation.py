"""Scores of a trial list: their metrics, and the files that keep them."""

import logging
from datetime import datetime
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.manifest import append_rows
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.data.trials import Trials
from speakerlab.record import FILE_ONLY
from speakerlab.scoring.bootstrap import bootstrap_eer_interval
from speakerlab.scoring.metrics import verification_metrics

FEWEST_DRAWS, FEWEST_SPEAKERS = 100, 5  # from fewer, a 95 % interval is a number without meaning
log = logging.getLogger("speakerlab")
METRICS = ("eer", "eer_low", "eer_high", "min_dcf_0.01", "min_dcf_0.05", "threshold", "targets", "nontargets")


def trial_metrics(trials: Trials, scores: np.ndarray, draws: int) -> dict[str, float]:
    """EER, both minDCF and the threshold; and the EER's 95 % interval over speakers where `draws` is above 0 and at
    least `FEWEST_SPEAKERS` have target trials."""
    metrics = verification_metrics(scores, trials.labels)
    speakers = speakers_by_targets(trials)
    if draws and len(np.unique(speakers[trials.enrol[trials.labels == 1]])) >= FEWEST_SPEAKERS:
        low, high = bootstrap_eer_interval(
            scores, trials.labels, speakers[trials.enrol], speakers[trials.test], draws=draws
        )
        metrics |= {"eer_low": low, "eer_high": high}
    return metrics


def check_draws(draws: int) -> None:
    """Refuse a number of bootstrap draws from which an interval would mean nothing."""
    if draws != 0 and draws < FEWEST_DRAWS:
        raise InputError(f"bootstrap_draws={draws} must be at least {FEWEST_DRAWS}, or 0 for no interval")


def keep_metrics(folder: Path, evaluated: Path | str, on: str, rows: dict[str, dict[str, float]]) -> None:
    """A line a system in the log and in the table of results, `metrics/test_metrics.csv` for trials and
    `metrics/test_identification.csv` for identification; see `append_test_metrics`."""
    for system, metrics in rows.items():
        log.log(FILE_ONLY, f"{system} on {on}: " + ", ".join(f"{key} {value:.6g}" for key, value in metrics.items()))
    table = "test_metrics.csv" if "eer" in next(iter(rows.values())) else "test_identification.csv"
    append_test_metrics(folder / "metrics" / table, evaluated, on, rows)


def append_test_metrics(path: Path, checkpoint: Path | str, source: str, rows: dict[str, dict[str, float]]) -> None:
    """Add a line a system to a table of results: when, which checkpoint or embeddings, on what, and the metrics."""
    date = datetime.now().isoformat(timespec="seconds")
    place = {"date": date, "checkpoint": str(checkpoint), "trials": source}
    columns = METRICS if "eer" in next(iter(rows.values())) else tuple(next(iter(rows.values())))
    names = ("date", "checkpoint", "trials", "system", *columns)
    append_rows(path, names, [place | {"system": system} | metrics for system, metrics in rows.items()])
