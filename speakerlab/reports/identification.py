"""The report of an identification: metrics, how often the right speaker is among the first few, and who is mixed up."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speakerlab.reports.figure import COLOURS, new_figure, save_figure
from speakerlab.reports.page import facts_section, figure_section, metrics_section, write_report
from speakerlab.scoring.identification import cumulative_match

RANKS = 20


def match_figure(rank: np.ndarray, speakers: int) -> Figure:
    """Cumulative match curve: the share of utterances whose speaker is among the first k, and chance."""
    most = min(RANKS, speakers)
    first = np.arange(1, most + 1)
    figure, (axes,) = new_figure(6.4, 4.0)
    axes.plot(first, 100 * cumulative_match(rank, most), color=COLOURS[0], marker="o", markersize=3.5, label="model")
    axes.plot(first, 100 * first / speakers, color="black", linewidth=1.0, linestyle="--", label="chance")
    axes.set(xlabel="first k speakers", ylabel="right speaker among them (%)", ylim=(0, 102))
    axes.set_xticks([k for k in (1, 5, 10, 15, 20) if k <= most])
    axes.legend(frameon=False, fontsize=9)
    return figure


def identification_report(
    folder: Path,
    title: str,
    name: str,
    metrics: Mapping[str, float],
    rank: np.ndarray,
    speakers: int,
    confused: list[tuple[str, str, int]],
) -> Path:
    """Write `evaluation_<name>/report.html`, and the figure as PNG and SVG under `plots/`; returns the page.

    Args:
        folder: of the run.
        title: of the page.
        name: of what was identified.
        metrics: as `speakerlab.scoring.identification.identification_metrics` gives them.
        rank: `(utterances,)` of the true speaker.
        speakers: how many the model knows.
        confused: (speaker, taken for, times).
    """
    figure = match_figure(rank, speakers)
    save_figure(figure, folder / "plots" / f"match_{name}")
    facts = {f"{speaker} taken for {other}": f"{times} times" for speaker, other, times in confused}
    return write_report(
        folder / f"evaluation_{name}",
        title,
        metrics_section(f"Identification among {speakers:,} speakers", {name: metrics}),
        figure_section("Cumulative match", figure, "How often the right speaker is among the first k that are named."),
        facts_section("Most frequent mistakes", facts or {"none": "every utterance was identified"}),
        subtitle=name,
    )
