"""The comparison of several systems: tables, bar charts, and which differences are significant."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from speakerlab.data.manifest import replacing, write_rows
from speakerlab.reports.figure import COLOURS, new_figure, save_figure, shortened
from speakerlab.reports.metric_names import (
    HIGHER_IS_BETTER,
    interval_words,
    metric_name,
    metric_unit,
    metric_value,
    signed_value,
)
from speakerlab.reports.page import facts_section, figure_section, table_section, write_report
from speakerlab.reports.roc import roc_figure
from speakerlab.scoring.comparison import SIGNIFICANT, Compared, Pair

Costs = Mapping[str, Mapping[str, float]]
Cells = dict[str, dict[str, str]]
COUNTS = ("targets", "nontargets", "utterances", "threshold", "error_rate")  # no merit of a system, or said twice
# Beginnings of the names of the metrics that have bars.
DRAWN = ("eer", "min_dcf_", "accuracy", "top5_accuracy", "macro_f1")
COLUMNS = 3  # of panels
OVERALL = "All lists"
LONGEST_LABEL = 28
DIFFERENCES = (
    "Differences are the second system minus the first, with their 95 % interval, both systems drawn over the same "
    f"speakers; p is corrected for the number of pairs (Holm), and * marks p < {SIGNIFICANT}."
)
INTERVALS = "In brackets: 95 % intervals, by bootstrap over speakers."
TOO_FEW = "No intervals and no tests: too few speakers have target trials or utterances."
COST_NOTE = (
    "Parameters and multiply-accumulates are the encoder's with its pooling, the latter for 2 s. The size on disk is "
    "the checkpoint's, with what training keeps in it. Latency is that of one utterance of 2 s from waveform to "
    "embedding in float32, embeddings a second are of 16 such utterances at a time, and peak memory is that of the "
    "whole process that embeds them; on a GPU, of its tensors."
)


def write_comparison(
    folder: Path, lists: Sequence[Compared], costs: Costs, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> Path:
    """Write `report.html`, `comparison.md`, `comparison.csv`, `differences.csv` and the figures under `plots/`; returns
    the page.

    Args:
        folder: is made if need be.
        lists: what all systems were scored on.
        costs: label -> `parameters`, `macs`, `disk_mb` and the like; systems without a checkpoint are not in it.
        facts: when, how and on which machine.
        notes: lines about the lists.
    """
    figures = {f"compare_{one.name}": metrics_figure(one) for one in lists}
    figures |= {f"roc_{one.name}": roc_figure(one.curves) for one in lists if one.curves}
    if len(lists) > 1:
        figures = {"compare": overall_figure(lists)} | figures
    if costs:
        figures["compare_cost"] = cost_figure(costs)
    for name, figure in figures.items():
        save_figure(figure, folder / "plots" / name)
    with replacing(folder / "comparison.md") as draft:
        draft.write_text(comparison_markdown(lists, costs, facts, notes, list(figures)), encoding="utf-8")
    write_rows(folder / "comparison.csv", metrics_rows(lists, costs))
    write_rows(folder / "differences.csv", difference_rows(lists))
    sections = []
    if len(lists) > 1:
        sections.append(table_section(OVERALL, overall_cells(lists), INTERVALS))
        sections.append(figure_section(f"{OVERALL}, bars", figures["compare"], "With 95 % intervals."))
    for one in lists:
        sections.append(table_section(f"{one.name}: {one.counts}", metrics_cells(one, drawn_metrics(one)), INTERVALS))
        sections.append(table_section(f"{one.name}, further metrics", metrics_cells(one, further_metrics(one))))
        sections.append(figure_section(f"{one.name}, bars", figures[f"compare_{one.name}"], "With 95 % intervals."))
        if one.curves:
            sections.append(figure_section(f"{one.name}, ROC", figures[f"roc_{one.name}"]))
        sections.append(facts_section("Which differ", dict(enumerate(conclusions(one), 1))))
        if one.pairs:
            note = f"{DIFFERENCES} {one.draws:,} draws."
            sections.append(table_section(f"{one.name}, differences", difference_cells(one), note))
    if costs:
        sections.append(table_section("Cost", cost_cells(costs), COST_NOTE))
        sections.append(figure_section("Cost, bars", figures["compare_cost"]))
    if notes:
        sections.append(facts_section("Notes", dict(enumerate(notes, 1))))
    sections.append(facts_section("Made", facts))
    return write_report(folder, "Comparison", *sections, subtitle=", ".join(lists[0].metrics))


def metrics_cells(one: Compared, names: Sequence[str]) -> Cells:
    """A row a system, a column each of these metrics, in words, with its interval."""

    def words(name: str, metrics: Mapping[str, float]) -> str:
        bounds = interval_words(name, metrics)
        return metric_value(name, metrics.get(name)) + (f" ({bounds})" if bounds else "")

    return {
        label: {metric_name(name): words(name, metrics) for name in names} for label, metrics in one.metrics.items()
    }


def overall_cells(lists: Sequence[Compared]) -> Cells:
    """A row a system, a column each list and metric that has bars."""
    by_list = {one.name: metrics_cells(one, drawn_metrics(one)) for one in lists}
    return {
        label: {f"{name}: {metric}": cell for name, cells in by_list.items() for metric, cell in cells[label].items()}
        for label in lists[0].metrics
    }


def shown_metrics(one: Compared) -> list[str]:
    """The metrics of a list that say how good a system is."""
    every = dict.fromkeys(name for metrics in one.metrics.values() for name in metrics)
    return [name for name in every if name not in COUNTS and not name.endswith(("_low", "_high"))]


def drawn_metrics(one: Compared) -> list[str]:
    """The few that have bars."""
    return [name for name in shown_metrics(one) if name.startswith(DRAWN)]


def further_metrics(one: Compared) -> list[str]:
    """The others."""
    return [name for name in shown_metrics(one) if name not in drawn_metrics(one)]


def difference_cells(one: Compared) -> Cells:
    """A row a metric and pair of systems."""
    cells: Cells = {}
    for pair in one.pairs:
        name, unit = metric_name(pair.metric), metric_unit(pair.metric)[1]
        found = pair.difference
        value, low, high = (signed_value(pair.metric, number) for number in (found.value, found.low, found.high))
        cells[f"{name}{f' ({unit})' if unit else ''}: {pair.first} → {pair.second}"] = {
            "difference": value,
            "95 % interval": f"{low} to {high}",
            "p": f"{pair.p_value:.2g}{' *' if pair.is_significant else ''}",
        }
    return cells


def conclusions(one: Compared) -> list[str]:
    """What differs for certain, a sentence a metric."""
    if not one.pairs:
        return [TOO_FEW]
    sentences = []
    for metric in dict.fromkeys(pair.metric for pair in one.pairs):
        better: dict[str, list[str]] = {}
        for pair in one.pairs:
            if pair.metric == metric and pair.is_significant:
                winner, loser = better_first(pair)
                better.setdefault(winner, []).append(loser)
        said = "; ".join(f"{winner} is better than {', '.join(losers)}" for winner, losers in better.items())
        sentences.append(f"{metric_name(metric)}: {said or 'no difference is significant'}")
    return sentences


def better_first(pair: Pair) -> tuple[str, str]:
    """The labels of a pair, the better one first."""
    second_is_better = (pair.difference.value > 0) == (pair.metric in HIGHER_IS_BETTER)
    return (pair.second, pair.first) if second_is_better else (pair.first, pair.second)


def cost_cells(costs: Costs) -> Cells:
    """A row a system, a column a cost."""
    return {
        label: {metric_name(name): metric_value(name, value) for name, value in cost.items()}
        for label, cost in costs.items()
    }


def metrics_figure(one: Compared) -> Figure:
    """A panel a metric, a bar a system, with its interval."""
    return _panels([("", name, one.metrics) for name in drawn_metrics(one)])


def overall_figure(lists: Sequence[Compared]) -> Figure:
    """The panels of all lists."""
    return _panels([(f"{one.name}\n", name, one.metrics) for one in lists for name in drawn_metrics(one)])


def cost_figure(costs: Costs) -> Figure:
    """A panel a cost, a bar a system."""
    return _panels([("", name, costs) for name in next(iter(costs.values()))])


def metrics_rows(lists: Sequence[Compared], costs: Costs) -> Iterable[list]:
    """The header of `comparison.csv`, then a row a list and system."""
    names = dict.fromkeys(name for one in lists for metrics in one.metrics.values() for name in metrics)
    spent = dict.fromkeys(name for cost in costs.values() for name in cost)
    yield ["list", "system", *names, *spent]
    for one in lists:
        for label, metrics in one.metrics.items():
            cost = costs.get(label, {})
            yield [one.name, label, *(metrics.get(name, "") for name in names), *(cost.get(name, "") for name in spent)]


def difference_rows(lists: Sequence[Compared]) -> Iterable[list]:
    """The header of `differences.csv`, then a row a list, pair of systems and metric."""
    yield ["list", "metric", "first", "second", "difference", "low", "high", "p", "p_corrected", "significant"]
    for one in lists:
        for pair in one.pairs:
            found = pair.difference
            numbers = [found.value, found.low, found.high, found.p_value, pair.p_value]
            yield [one.name, pair.metric, pair.first, pair.second, *numbers, int(pair.is_significant)]


def comparison_markdown(
    lists: Sequence[Compared], costs: Costs, facts: Mapping[str, str], notes: Sequence[str], figures: Sequence[str]
) -> str:
    """The same as a page of text; `figures` are names under `plots/`."""
    lines = ["# Comparison", "", *(_wrapped(f"- {name}: {text}") for name, text in facts.items()), ""]
    if len(lists) > 1:
        lines += [f"## {OVERALL}", "", *_table(overall_cells(lists)), "", f"![{OVERALL}](plots/compare.png)", ""]
    for one in lists:
        lines += [
            f"## {one.name}",
            "",
            _wrapped(f"{one.counts}."),
            "",
            *_table(metrics_cells(one, shown_metrics(one))),
            "",
        ]
        lines += [*(_wrapped(f"- {sentence}") for sentence in conclusions(one)), ""]
        if one.pairs:
            lines += [*_table(difference_cells(one)), "", _wrapped(f"{DIFFERENCES} {one.draws:,} draws."), ""]
        lines += [f"![{one.name}](plots/compare_{one.name}.png)", ""]
        if one.curves:
            lines += [f"![{one.name}, ROC](plots/roc_{one.name}.png)", ""]
    if costs:
        lines += ["## Cost", "", *_table(cost_cells(costs)), "", _wrapped(COST_NOTE), ""]
        lines += [f"![cost](plots/{figures[-1]}.png)", ""]
    if notes:
        lines += ["## Notes", "", *(_wrapped(f"- {note}") for note in notes), ""]
    return "\n".join(lines)


def _table(cells: Cells) -> list[str]:
    headers = ["", *next(iter(cells.values()))]
    rows = [headers, ["---", *["---:"] * (len(headers) - 1)], *([name, *row.values()] for name, row in cells.items())]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _panels(panels: Sequence[tuple[str, str, Costs]]) -> Figure:
    """Of each: what stands before the metric's name, the metric, and label -> metrics of the same systems."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = 0.9 + 0.34 * len(panels[0][2]) + (0.2 if panels[0][0] else 0)
    figure, axes = new_figure(3.4 * columns + 1.4, rows * height, rows, columns)
    for place, (panel, (before, name, systems)) in enumerate(zip(axes, panels, strict=False)):
        _bars(panel, before, name, systems, with_labels=place % columns == 0)
    for empty in axes[len(panels) :]:
        empty.remove()
    return figure


def _bars(axes: Axes, before: str, name: str, systems: Costs, with_labels: bool) -> None:
    factor, unit = metric_unit(name)
    places = np.arange(len(systems))
    values = [factor * metrics.get(name, np.nan) for metrics in systems.values()]
    axes.barh(places, values, color=[COLOURS[i % len(COLOURS)] for i in places], height=0.62, alpha=0.85)
    ends = []
    for place, (metrics, value) in enumerate(zip(systems.values(), values, strict=True)):
        low, high = (factor * metrics.get(f"{name}_{end}", value / factor) for end in ("low", "high"))
        if high > low:
            axes.errorbar(
                value,
                place,
                xerr=[[max(0, value - low)], [max(0, high - value)]],
                color="black",
                capsize=3,
                linewidth=1.2,
            )
        ends.append(max(value, high))
        axes.annotate(
            metric_value(name, metrics.get(name)).removesuffix(f" {unit}"),
            (ends[-1], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    axes.set_yticks(places, [shortened(label, LONGEST_LABEL) for label in systems] if with_labels else [])
    axes.set_ylim(len(systems) - 0.45, -0.55)  # the first on top
    most = np.nanmax(ends) if np.isfinite(ends).any() else 0
    axes.set_xlim(0, 1.28 * most if most > 0 else 1)  # room for the numbers
    axes.locator_params(axis="x", nbins=5)
    if most >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    title = f"{metric_name(name)} ({unit})" if unit else metric_name(name)
    axes.set_title(f"{before}{title}", fontsize=10, loc="left")
    axes.tick_params(labelsize=9)
    axes.grid(False, axis="y")
