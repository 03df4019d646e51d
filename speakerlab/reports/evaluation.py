"""The report of an evaluation: metrics, DET curve and score histogram."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from speakerlab.reports.det import det_figure
from speakerlab.reports.figure import save_figure
from speakerlab.reports.histogram import histogram_figure
from speakerlab.reports.page import figure_section, metrics_section, write_report
from speakerlab.scoring.metrics import error_rates


def evaluation_report(
    folder: Path,
    title: str,
    name: str,
    metrics: Mapping[str, Mapping[str, float]],
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
) -> Path:
    """Write `evaluation_<name>/report.html`, and the figures as PNG and SVG under `plots/`; returns the page.

    Args:
        folder: of the run.
        title: of the page.
        name: of the trial list.
        metrics: of each system, the first of which is the model.
        scores: `(trials,)` of each system.
        labels: `(trials,)`, 1 for the same speaker.
    """
    model = next(iter(scores))
    det = det_figure({system: error_rates(values, labels) for system, values in scores.items()})
    histogram = histogram_figure(scores[model], labels, metrics[model]["threshold"])
    save_figure(det, folder / "plots" / f"det_{name}")
    save_figure(histogram, folder / "plots" / f"scores_{name}")
    return write_report(
        folder / f"evaluation_{name}",
        title,
        metrics_section("Trials", metrics),
        figure_section("Detection error trade-off", det),
        figure_section("Scores", histogram, "Scores of the trials, and the threshold at the equal error rate."),
        subtitle=name,
    )
