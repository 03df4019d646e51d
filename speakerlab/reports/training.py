"""The report of a training run, from the files in its folder alone."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.data.development import MEASURED, read_development_trials, read_utterances
from speakerlab.data.trial_speakers import speaker_names, speakers_by_targets
from speakerlab.reports.certainty import certainty_figure
from speakerlab.reports.confusion import confusion_counts, confusion_figure, most_confused
from speakerlab.reports.curves import read_metrics, training_curves
from speakerlab.reports.det import det_figure
from speakerlab.reports.embedding_map import Sample, map_figure
from speakerlab.reports.environment import in_words, versions
from speakerlab.reports.events import write_events
from speakerlab.reports.figure import figure_image, save_figure, save_figures
from speakerlab.reports.histogram import histogram_figure
from speakerlab.reports.identification import match_figure
from speakerlab.reports.page import drawing_section, facts_section, folded_section, metrics_section, write_report
from speakerlab.scoring.metrics import error_rates, monitored

HEADINGS = {
    "det": "Detection error trade-off of the development trials",
    "scores": "Scores of the development trials",
    "match": "Cumulative match of the validation utterances",
    "confusion": "Most confused speakers of the validation utterances",
    "certainty": "How sure, and how rightly",
    "map": "Map of embeddings",
}
EACH_EPOCH = ("det", "match", "confusion")  # drawn for TensorBoard after each measured epoch


class Measured(NamedTuple):
    """The last measured epoch: when, its figures by kind, and some of its embeddings."""

    epoch: int
    step: int
    figures: dict[str, Figure]
    sample: Sample


def best_epoch(folder: Path) -> dict[str, float]:
    """The row of `metrics/val_metrics.csv` with the lowest EER, or error rate of identification."""
    table = read_metrics(folder / "metrics" / "val_metrics.csv")
    row = int(table[monitored(table)].argmin())
    return {name: float(column[row]) for name, column in table.items()}


def training_report(folder: Path) -> Path:
    """Write `report.html`, its figures under `plots/` and, of the last measured epoch, as TensorBoard events under
    `tensorboard/development/`; returns the page."""
    _, curves = save_figure(training_curves(folder), folder / "plots" / "training")
    best = best_epoch(folder)
    rows = {
        f"epoch {best['epoch']:.0f}": {name: value for name, value in best.items() if name not in ("epoch", "step")}
    }
    environment = json.loads((folder / "environment.json").read_text())
    command = (folder / "command.txt").read_text().strip().replace("\n", "  then  ")
    return write_report(
        folder,
        f"Training {folder.parent.name}",
        metrics_section("Best epoch", rows),
        drawing_section("Training", curves.read_text()),
        *_measured_sections(folder),
        facts_section("Run", {"command": command} | in_words(environment)),
        folded_section("Configuration", (folder / "config.yaml").read_text()),
        folded_section("Versions", versions(environment)),
        subtitle=folder.name,
    )


def epoch_images(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Figures of the epoch that was just measured: tag -> `(height, width, 3)` pixels for TensorBoard."""
    with np.load(folder / MEASURED) as found:
        if "scores" in found:
            figures = {"det": _det(found, read_development_trials(folder)[0].labels)}
        else:
            figures = _guesses(found)
    return {f"val/{kind}": figure_image(figure) for kind, figure in figures.items()}


def last_measured(folder: Path) -> Measured | None:
    """What a run's folder knows of its last measured epoch; None of a run that kept nothing."""
    if not (folder / MEASURED).is_file():
        return None
    with np.load(folder / MEASURED) as found:
        if "scores" in found:
            trials, _ = read_development_trials(folder)
            names = speaker_names(trials.utterances, speakers_by_targets(trials))
            figures = {"det": _det(found, trials.labels), "scores": histogram_figure(found["scores"], trials.labels)}
        else:
            names = np.array(read_utterances(folder, "val")["speaker"].to_pylist())
            figures = _guesses(found) | {"certainty": certainty_figure(found["probability"], found["rank"] == 1)}
        sample = Sample(found["embeddings"], names[found["rows"]])
        drawn = map_figure(sample)
        if drawn is not None:
            figures["map"] = drawn
        return Measured(int(found["epoch"]), int(found["step"]), figures, sample)


def _det(found: dict[str, NDArray], labels: NDArray) -> Figure:
    return det_figure({f"after epoch {found['epoch']}": error_rates(found["scores"], labels)})


def _guesses(found: dict[str, NDArray]) -> dict[str, Figure]:
    """Of an identification; who is confused with whom, unless nobody is."""
    names, classes, predicted = found["names"], found["classes"], found["predicted"]
    figures, confused = {"match": match_figure(found["rank"], len(names))}, most_confused(classes, predicted)
    if len(confused):
        counts = confusion_counts(classes, predicted, confused)
        figures["confusion"] = confusion_figure(counts, names[confused].tolist())
    return figures


def _measured_sections(folder: Path) -> list[str]:
    """The figures of the last measured epoch, which are saved and written for TensorBoard as well."""
    measured = last_measured(folder)
    if measured is None:
        return []
    drawn = save_figures(folder / "plots", measured.figures, "last_epoch")
    tags = {f"last_epoch/{kind}": figure for kind, figure in measured.figures.items() if kind not in EACH_EPOCH}
    write_events(folder / "tensorboard" / "development", tags, measured.sample, measured.step)
    caption = f"After epoch {measured.epoch}, the last one that was measured."
    return [drawing_section(HEADINGS[kind], svg, caption) for kind, svg in drawn.items()]
