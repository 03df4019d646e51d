"""The look at a corpus: its numbers as words for a table, its figure and its page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from speakerlab.data.summary import UNKNOWN, Group, Look, Summary, spread
from speakerlab.reports.figure import COLOURS, GREY, new_figure, save_figure, shortened
from speakerlab.reports.page import facts_section, figure_section, metrics_section, write_report

Rows = dict[str, dict[str, str]]
SHOWN_VALUES = 15  # of a group in a table
SHOWN_BARS = 4  # of a group in the figure
FEWEST_BARS = 6  # for which there is room; two bars should not fill the panel
SPREAD_HEADERS = {"min": "min", "p5": "5 %", "median": "median", "p95": "95 %", "max": "max"}


def overview(look: Look) -> dict[str, str]:
    """What is counted, in words."""
    summary = look.summary
    hours = summary.seconds.sum() / 3600
    words = {
        "speakers": f"{len(summary.utterances_of):,}",
        "utterances": f"{len(summary.seconds):,}",
        "hours": _hours(hours),
    }
    if summary.sessions:
        words["sessions"] = f"{summary.sessions:,}"
    if summary.files < len(summary.seconds):
        words["audio files"] = f"{summary.files:,} (utterances are parts of them)"
    if summary.repeated:
        words["repeated"] = f"{summary.repeated:,} utterances begin where another does in the same file"
    if look.development:
        other = look.development
        words["development utterances"] = f"{len(other.seconds):,}"
        words["development hours"] = _hours(other.seconds.sum() / 3600)
        words["development trials"] = f"{other.targets:,} targets, {other.nontargets:,} non-targets"
    return words


def spreads(look: Look) -> Rows:
    """A row a quantity, with its quantiles."""
    summary = look.summary
    rows = {
        "length (s)": (summary.seconds, ".2f"),
        "utterances a speaker": (summary.utterances_of, ",.0f"),
        "minutes a speaker": (summary.seconds_of / 60, ",.1f" if summary.seconds_of.max() >= 600 else ".2f"),
    }
    if look.development:
        rows["development length (s)"] = (look.development.seconds, ".2f")
    return {
        name: {SPREAD_HEADERS[key]: format(value, form) for key, value in spread(values).items()}
        for name, (values, form) in rows.items()
    }


def group_rows(name: str, groups: Mapping[str, Group]) -> Rows:
    """A row a value of one group, the largest first; beyond SHOWN_VALUES they are counted together."""
    rows = {
        _worded(name, value): {
            "speakers": f"{group.speakers:,}",
            "utterances": f"{group.utterances:,}",
            "hours": _hours(group.hours),
        }
        for value, group in list(groups.items())[:SHOWN_VALUES]
    }
    rest = list(groups.values())[SHOWN_VALUES:]
    if rest:
        utterances, hours = sum(group.utterances for group in rest), sum(group.hours for group in rest)
        rows[f"{len(rest)} others"] = {"speakers": "", "utterances": f"{utterances:,}", "hours": _hours(hours)}
    return rows


def left_out_rows(look: Look) -> Rows:
    """A row a reason for which files were left out."""
    return {reason: {"files": f"{files:,}", "such as": example} for reason, (files, example) in look.left_out.items()}


def summary_figure(look: Look) -> Figure:
    """Lengths, utterances and minutes of each speaker, and shares of sample rates, formats and the like."""
    summary = look.summary
    figure, (lengths, counts, minutes, shares) = new_figure(10.0, 7.0, rows=2, columns=2)
    sides = {"training" if look.development else "": summary.seconds}
    if look.development:
        sides["development"] = look.development.seconds
    _histogram(lengths, sides, "length of an utterance (s)", "utterances")
    _histogram(counts, {"": summary.utterances_of}, "utterances of a speaker", "speakers")
    _histogram(minutes, {"": summary.seconds_of / 60}, "minutes of a speaker", "speakers")
    _bars(shares, summary)
    return figure


def write_summary(folder: Path, look: Look) -> Path:
    """Write `report.html`, and the figure as `plots/summary.png` and `.svg`; returns the page."""
    figure = summary_figure(look)
    save_figure(figure, folder / "plots" / "summary")
    sections = [
        facts_section("Counts", overview(look)),
        metrics_section("Spread", spreads(look)),
        figure_section("Distributions", figure),
        *(metrics_section(name.capitalize(), group_rows(name, groups)) for name, groups in look.summary.groups.items()),
    ]
    if look.left_out:
        sections.append(metrics_section("Left out", left_out_rows(look)))
    if look.notes:
        sections.append(facts_section("Notes", dict(enumerate(look.notes, 1))))
    return write_report(folder, f"Corpus {look.name}", *sections, subtitle=look.source)


def _histogram(axes: Axes, sides: Mapping[str, np.ndarray], name: str, counted: str) -> None:
    """One histogram, or several by their shares, since sides differ in size."""
    # Few bins for few values: single ones should not look like a comb.
    bins = int(np.clip(2 * np.sqrt(min(map(len, sides.values()))), 10, 50))
    every = np.concatenate(list(sides.values()))
    edges, logarithmic = _edges(every, bins)
    share = len(sides) > 1
    for (side, values), colour in zip(sides.items(), COLOURS):
        heights = np.histogram(values, edges)[0] * (100 / max(len(values), 1) if share else 1)
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(heights, edges, color=colour, linewidth=1.2, label=side)
        axes.axvline(np.median(values), color=colour, linestyle="--", linewidth=1.2)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set(xlabel=f"{name}; dashed: median", ylabel=f"share of {counted} (%)" if share else counted)
    axes.set_ylim(bottom=0)
    if np.issubdtype(every.dtype, np.integer) and not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(min(edges[0], edges.mean() - 3), max(edges[-1], edges.mean() + 3))  # not one bar from end to end
    if share:
        axes.legend(frameon=False, fontsize=9)


def _edges(values: np.ndarray, bins: int) -> tuple[np.ndarray, bool]:
    """Edges of bins, and whether they are equal ratios, for a long tail, instead of equal widths.

    Few different whole numbers get a bin each.
    """
    low, high = float(values.min()), float(values.max())
    if np.issubdtype(values.dtype, np.integer) and high <= 10 * np.median(values):
        # Bins of equally many whole numbers: others would look like a comb.
        width = 1 if high - low < 60 else int(np.ceil((high - low + 1) / bins))
        return np.arange(low - 0.5, high + width, width), False
    if low == high:
        return np.array([0.9 * low, 1.1 * low]), False
    if low > 0 and high > 10 * np.median(values):
        return np.geomspace(low, high, bins + 1), True
    return np.linspace(low, high, bins + 1), False


def _bars(axes: Axes, summary: Summary) -> None:
    """The largest values of each group as horizontal bars: share of the utterances."""
    labels, shares, colours = [], [], []
    for colour, (name, groups) in zip(COLOURS, summary.groups.items()):
        for value, group in list(groups.items())[:SHOWN_BARS]:
            labels.append(f"{name}: {shortened(_worded(name, value))}")
            shares.append(100 * group.utterances / len(summary.seconds))
            colours.append(GREY if value == UNKNOWN else colour)
    places = np.arange(len(labels))
    axes.barh(places, shares, color=colours, height=0.7)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(max(len(labels), FEWEST_BARS) - 0.5, -0.5)  # the first on top
    axes.set(xlabel="share of utterances (%)", xlim=(0, 112))
    axes.grid(False, axis="y")
    for place, share in zip(places, shares):
        axes.text(share + 1, place, f"{share:.3g}", va="center", fontsize=8)


def _worded(name: str, value: str) -> str:
    return f"{int(value) / 1000:g} kHz" if name == "sample rate" else value


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2f}"
