"""Equal error rates of parts of a trial list, as bars and as a table."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speakerlab.reports.figure import COLOURS, GREY
from speakerlab.scoring.conditions import ConditionResult

BAR_INCHES = 0.34


def conditions_figure(results: dict[str, dict[str, ConditionResult]], overall: float) -> Figure | None:
    """A panel a kind of condition, a bar a condition: its EER with its 95 % interval and its trials.

    Args:
        results: kind, such as "duration" -> condition -> what was found; those without an EER are left out.
        overall: EER of the whole list, drawn as a line.

    Returns:
        None where no kind has two conditions with an EER: bars are there to be compared.
    """
    panels = {
        kind: {name: one for name, one in found.items() if one.eer is not None} for kind, found in results.items()
    }
    panels = {kind: found for kind, found in panels.items() if len(found) > 1}
    if not panels:
        return None
    heights = [len(found) + 1.4 for found in panels.values()]
    figure = Figure(figsize=(7.4, BAR_INCHES * sum(heights) + 0.7), layout="constrained")
    every = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (kind, found) in zip(every, panels.items(), strict=True):
        _draw_panel(axes, kind, found, overall)
    longest = max(one.high or one.eer for found in panels.values() for one in found.values())
    every[-1].set_xlim(0, 100 * max(longest, overall) * 1.04 or 1)
    every[-1].set_xlabel(f"EER (%); black: 95 % interval over speakers; dashed: all trials, {100 * overall:.2f} %")
    return figure


def conditions_rows(results: dict[str, dict[str, ConditionResult]]) -> dict[str, dict[str, str]]:
    """A row a condition for a table, with what the figure can't show."""
    return {
        f"{kind}: {name}": {
            "EER (%)": "–" if one.eer is None else f"{100 * one.eer:.2f}",
            "95 % interval": "–" if one.low is None else f"{100 * one.low:.2f} – {100 * one.high:.2f}",
            "false rejects (%)": "–" if one.miss is None else f"{100 * one.miss:.2f}",
            "false accepts (%)": "–" if one.false_alarm is None else f"{100 * one.false_alarm:.2f}",
            "target trials": f"{one.targets:,}",
            "non-target trials": f"{one.nontargets:,}",
        }
        for kind, found in results.items()
        for name, one in found.items()
    }


def _draw_panel(axes: Axes, kind: str, found: dict[str, ConditionResult], overall: float) -> None:
    places, rates = np.arange(len(found)), np.array([100 * one.eer for one in found.values()])
    axes.barh(places, rates, height=0.66, color=COLOURS[5], zorder=2)
    for place, one in zip(places, found.values(), strict=True):
        if one.low is not None:
            axes.plot([100 * one.low, 100 * one.high], [place, place], color="black", linewidth=1.4, zorder=3)
            axes.plot([100 * one.low, 100 * one.high], [place, place], "|", color="black", markersize=7, zorder=3)
    labels = [f"{name}\n{one.targets:,} + {one.nontargets:,} trials" for name, one in found.items()]
    axes.set_yticks(places, labels, fontsize=8, linespacing=1.1)
    axes.set_ylim(len(found) - 0.4, -0.6)  # the first on top
    axes.axvline(100 * overall, color=GREY, linewidth=1.0, linestyle="--", zorder=4)
    axes.set_title(kind, fontsize=10, loc="left")
    axes.grid(True, axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
