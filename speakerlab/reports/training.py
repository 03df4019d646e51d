"""The report of a training run, from the files in its folder alone."""

import json
from pathlib import Path

from speakerlab.reports.curves import read_metrics, training_curves
from speakerlab.reports.figure import save_figure
from speakerlab.reports.page import facts_section, figure_section, folded_section, metrics_section, write_report
from speakerlab.scoring.metrics import monitored


def best_epoch(folder: Path) -> dict[str, float]:
    """The row of `metrics/val_metrics.csv` with the lowest EER, or error rate of identification."""
    table = read_metrics(folder / "metrics" / "val_metrics.csv")
    row = int(table[monitored(table)].argmin())
    return {name: float(column[row]) for name, column in table.items()}


def training_report(folder: Path) -> Path:
    """Write `report.html` and `plots/training.png|svg`; returns the page."""
    curves = training_curves(folder)
    save_figure(curves, folder / "plots" / "training")
    best = best_epoch(folder)
    environment = json.loads((folder / "environment.json").read_text())
    facts = {
        "command": (folder / "command.txt").read_text().strip().replace("\n", "  then  "),
        "started": environment["started"],
        "machine": f"{environment['platform']}, {environment['cpus']} CPUs",
        "computed on": f"{environment['processes']} x {environment['device']}, {environment['precision']}",
        "speakerlab": f"{environment['speakerlab']} {_commit(environment['git'])}",
    }
    libraries = {name: version for name, version in environment["libraries"].items() if version}
    rows = {
        f"epoch {best['epoch']:.0f}": {name: value for name, value in best.items() if name not in ("epoch", "step")}
    }
    return write_report(
        folder,
        f"Training {folder.parent.name}",
        metrics_section("Best epoch", rows),
        figure_section("Training", curves),
        facts_section("Run", facts | libraries | {"python": environment["python"]}),
        folded_section("Configuration", (folder / "config.yaml").read_text()),
        subtitle=folder.name,
    )


def _commit(git: dict | None) -> str:
    if git is None:
        return ""
    return f"commit {git['commit'][:10]}" + (" with uncommitted changes" if git["changed"] else "")
