"""Training curves from the CSV files that a run writes."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from speakerlab import InputError
from speakerlab.reports.figure import COLOURS, new_figure

# Panel title -> (file, column, name of the line, factor) of each line.
PANELS = {
    "training loss": [("train", "loss", "", 1)],
    "training accuracy (%)": [("train", "accuracy", "", 100)],
    "validation EER (%)": [("val", "eer", "", 100)],
    "validation minDCF": [("val", "min_dcf_0.01", "p = 0.01", 1), ("val", "min_dcf_0.05", "p = 0.05", 1)],
    "validation accuracy (%)": [
        ("val", "accuracy", "top 1", 100),
        ("val", "top5_accuracy", "top 5", 100),
        ("val", "macro_f1", "macro F1", 100),
    ],
    "learning rate": [("train", "learning_rate", "", 1)],
    "margin": [("train", "margin", "", 1)],
}
VERTICES = 1000  # of a line: more can't be seen


def training_curves(folder: Path) -> Figure:
    """Loss, accuracies, EER, minDCF, learning rate and margin by epoch, one panel each.

    Columns that a file does not have, or that are empty, have no line, and a panel without lines is left out.

    Args:
        folder: of a run; `metrics/train_metrics.csv` and `metrics/val_metrics.csv` are read.

    Raises:
        InputError: if there is nothing to draw.
    """
    tables = {name: read_metrics(folder / "metrics" / f"{name}_metrics.csv") for name in ("train", "val")}
    panels = {}
    for title, lines in PANELS.items():
        found = [(name, *_line(tables[file], column), factor) for file, column, name, factor in lines]
        found = [line for line in found if len(line[1])]
        if found:
            panels[title] = found
    if not panels:
        raise InputError(f"{folder / 'metrics'} has no training or validation metrics to draw")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(4.6 * columns, 2.7 * rows, rows, columns)
    for axis, (title, lines) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, title, lines)
    for empty in axes[len(panels) :]:
        empty.remove()
    return figure


def read_metrics(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns `(rows,)` of a metrics file; what is no number is NaN, and a missing file has no columns."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    return {name: np.array([_number(row[name]) for row in rows]) for name in reader.fieldnames or ()}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _line(table: dict[str, NDArray], column: str) -> tuple[NDArray, NDArray]:
    """Epochs and values `(vertices,)` of a column, both empty where there is none."""
    if column not in table or "epoch" not in table:
        return np.empty(0), np.empty(0)
    epoch, value = table["epoch"], table[column]
    usable = np.isfinite(epoch) & np.isfinite(value)
    x, y = epoch[usable], value[usable]
    stride = -(-len(x) // VERTICES) if len(x) else 1
    # Counted from the end, so that the newest value is always among those kept.
    return x[::-1][::stride][::-1], y[::-1][::stride][::-1]


def _draw_panel(axes: Axes, title: str, lines: list[tuple[str, NDArray, NDArray, float]]) -> None:
    for colour, (name, x, y, factor) in zip(COLOURS, lines, strict=False):
        # Dots for few points: a run of one epoch has no line to see.
        marker = "o" if len(x) <= 40 else ""
        axes.plot(x, factor * y, color=colour, linewidth=1.5, marker=marker, markersize=3.5, label=name)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("epochs trained", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.margins(y=0.08)
    if not any(y.any() for _, _, y, _ in lines):
        axes.set_ylim(0, 1)  # around zeros alone, the axis would have negative shares
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)
