"""The figures of a sweep."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from speakerlab.reports.figure import COLOURS, GREY, new_figure, shortened
from speakerlab.reports.metric_names import metric_name, metric_unit

if TYPE_CHECKING:
    from speakerlab.reports.sweep import SweepTrials

MAP = "viridis_r"  # ordered for every eye, and in grey
MOST_TICKS = 8  # of a categorical axis


def axis_name(objective: str) -> str:
    """
    >>> axis_name("eer"), axis_name("parameters"), axis_name("min_dcf_0.01")
    ('EER (%)', 'parameters (million)', 'minDCF(0.01)')
    """
    unit = _unit(objective)[1]
    return f"{metric_name(objective)} ({unit})" if unit else metric_name(objective)


def _unit(objective: str) -> tuple[float, str]:
    return (1e-6, "million") if objective == "parameters" else metric_unit(objective)


def objective_values(sweep: "SweepTrials", trials: Sequence[FrozenTrial], place: int) -> NDArray[np.float64]:
    """`(trials,)` one objective in the unit that it is shown in."""
    return _unit(sweep.objectives[place])[0] * np.array([trial.values[place] for trial in trials])


def history_figure(sweep: "SweepTrials") -> Figure:
    """Values by trial, a panel an objective; the best so far, and what pruned trials had come to."""
    figure, panels = new_figure(7.5, 3.2 * len(sweep.objectives), rows=len(sweep.objectives))
    complete = sweep.complete
    numbers = np.array([trial.number for trial in complete])
    for place, (axes, name) in enumerate(zip(panels, sweep.objectives, strict=True)):
        values = objective_values(sweep, complete, place)
        largest = sweep.study.directions[place] == StudyDirection.MAXIMIZE
        best = np.maximum.accumulate(values) if largest else np.minimum.accumulate(values)
        axes.step(numbers, best, where="post", color=COLOURS[1], linewidth=1.5, label="best so far")
        axes.scatter(numbers, values, s=22, color=COLOURS[0], label="complete", zorder=3)
        pruned = [trial for trial in sweep.trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
        if pruned and place == 0:
            last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
            where = _unit(name)[0] * np.array(last)
            axes.scatter([trial.number for trial in pruned], where, s=24, marker="x", color=GREY, label="pruned")
        axes.set_xlabel("trial", fontsize=9)
        axes.set_ylabel(axis_name(name), fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        axes.tick_params(labelsize=9)
        axes.legend(frameon=False, fontsize=8)
    return figure


def pareto_figure(sweep: "SweepTrials") -> Figure:
    """The first two objectives against each other, with those on the front of all objectives."""
    figure, (axes,) = new_figure(6.5, 4.2)
    front = sweep.front
    others = [trial for trial in sweep.complete if trial not in front]
    for trials, colour, label in ((others, GREY, "dominated"), (front, COLOURS[1], "Pareto front")):
        if trials:
            x, y = (objective_values(sweep, trials, place) for place in (1, 0))
            axes.scatter(x, y, s=26, color=colour, label=label, zorder=3)
    x, y = (objective_values(sweep, front, place) for place in (1, 0))
    if len(sweep.objectives) == 2:
        # From the best first objective on, the step turns away from the better side whatever the directions.
        axes.step(x, y, where="pre", color=COLOURS[1], linewidth=1.2)
    for trial, *at in zip(front, x, y, strict=True):
        axes.annotate(str(trial.number), at, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel(axis_name(sweep.objectives[1]), fontsize=9)
    axes.set_ylabel(axis_name(sweep.objectives[0]), fontsize=9)
    axes.tick_params(labelsize=9)
    axes.legend(frameon=False, fontsize=8)
    return figure


def importances(sweep: "SweepTrials", place: int) -> dict[str, dict[str, float]]:
    """Evaluator -> parameter -> share of an objective; an evaluator that can't tell is left out."""
    found: dict[str, dict[str, float]] = {}
    sign = -1 if sweep.study.directions[place] == StudyDirection.MAXIMIZE else 1  # PED-ANOVA takes low for good
    evaluators = {"fANOVA": FanovaImportanceEvaluator(seed=0), "PED-ANOVA": PedAnovaImportanceEvaluator()}
    for name, evaluator in evaluators.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental, few trials: the caption says it
            try:
                found[name] = get_param_importances(
                    sweep.study, evaluator=evaluator, target=lambda trial: sign * trial.values[place]
                )
            except (ValueError, RuntimeError):  # no parameter that all trials have, or values that are all the same
                continue
    return {name: shares for name, shares in found.items() if shares}


def importance_figure(sweep: "SweepTrials") -> Figure:
    """Bars of both estimates, a panel an objective; the most important parameter on top."""
    names, count = sweep.parameters, len(sweep.objectives)
    figure, panels = new_figure(7.5, count * (0.9 + 0.42 * len(names)), rows=count)
    for place, (axes, objective) in enumerate(zip(panels, sweep.objectives, strict=True)):
        shares = importances(sweep, place)
        means = {name: np.mean([one.get(name, 0.0) for one in shares.values()] or [0.0]) for name in names}
        order = sorted(names, key=lambda name: means[name])
        rows = np.arange(len(order))
        for number, (evaluator, one) in enumerate(shares.items()):
            widths = [100 * one.get(name, 0.0) for name in order]
            axes.barh(rows + 0.2 - 0.4 * number, widths, 0.36, color=COLOURS[number], label=evaluator)
        axes.set_yticks(rows, [shortened(name, 34) for name in order], fontsize=9)
        axes.set_xlabel(f"importance for {metric_name(objective)} (%)", fontsize=9)
        axes.tick_params(labelsize=9)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def slice_figure(sweep: "SweepTrials") -> Figure:
    """Each objective against each parameter, a panel each."""
    names, objectives = sweep.parameters, sweep.objectives
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, panels = new_figure(3.1 * columns, 2.7 * rows * len(objectives), rows * len(objectives), columns)
    for place, objective in enumerate(objectives):
        mine = panels[place * rows * columns : (place + 1) * rows * columns]
        for index, axes in enumerate(mine):
            if index >= len(names):
                axes.remove()
                continue
            _slice(axes, sweep, names[index], place)
            if index % columns == 0:
                axes.set_ylabel(axis_name(objective), fontsize=9)
    return figure


def _slice(axes: Axes, sweep: "SweepTrials", name: str, place: int) -> None:
    trials = [trial for trial in sweep.complete if name in trial.params]
    scale = Scale(sweep, name)
    x = scale.positions(trials)
    if scale.labels:  # several trials of a choice would hide each other
        x = x + np.random.default_rng(0).uniform(-0.12, 0.12, len(x))
    y = objective_values(sweep, trials, place)
    front = {trial.number for trial in sweep.front}
    colours = [COLOURS[1] if trial.number in front else COLOURS[0] for trial in trials]
    axes.scatter(x, y, s=20, c=colours, alpha=0.75, linewidths=0)
    scale.dress(axes)
    axes.set_title(shortened(name, 34), fontsize=9, loc="left")
    axes.tick_params(labelsize=8)


class Scale:
    """How a parameter's values lie along an axis.

    Attributes:
        labels: of the choices of a category; none for numbers.
        log: whether they were drawn by their logarithm.
        low, high: the ends.
    """

    def __init__(self, sweep: "SweepTrials", name: str):
        found = [trial.distributions[name] for trial in sweep.trials if name in trial.distributions]
        self.name, self.log = name, bool(getattr(found[0], "log", False))
        self.labels: list[str] = []
        if isinstance(found[0], CategoricalDistribution):
            self.labels = list(dict.fromkeys(str(choice) for one in found for choice in one.choices))
            self.low, self.high = -0.5, len(self.labels) - 0.5
        else:
            self.low, self.high = min(one.low for one in found), max(one.high for one in found)

    def positions(self, trials: Sequence[FrozenTrial]) -> NDArray[np.float64]:
        """`(trials,)` values, of a category the place of the choice."""
        values = [trial.params[self.name] for trial in trials]
        return np.array([self.labels.index(str(value)) for value in values] if self.labels else values, np.float64)

    def shares(self, trials: Sequence[FrozenTrial]) -> NDArray[np.float64]:
        """`(trials,)` from 0 at the low end to 1 at the high one; NaN where a trial has no such parameter."""
        have = [self.name in trial.params for trial in trials]
        found = np.full(len(trials), np.nan)
        where = self.positions([trial for trial, has in zip(trials, have, strict=True) if has])
        low, high = self.low, self.high
        if self.log:
            where, low, high = np.log(where), np.log(low), np.log(high)
        found[np.array(have)] = (where - low) / (high - low)
        return found

    def dress(self, axes: Axes) -> None:
        """Limits and ticks of an x axis."""
        if self.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if self.high < 15 * self.low else (1,)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())  # whose labels lie upon each other within a decade
            axes.set_xlim(self.low / 1.1, self.high * 1.1)
        elif self.labels:
            axes.set_xlim(self.low, self.high)
            step = -(-len(self.labels) // MOST_TICKS)
            long = sum(map(len, self.labels[::step])) > 24
            axes.set_xticks(
                range(0, len(self.labels), step),
                [shortened(label, 16) for label in self.labels[::step]],
                rotation=30 if long else 0,
                ha="right" if long else "center",
            )
        else:
            room = 0.03 * (self.high - self.low)  # for dots at the ends
            axes.set_xlim(self.low - room, self.high + room)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5))


def parallel_figure(sweep: "SweepTrials") -> Figure:
    """A vertical axis a parameter and the first objective, a line a trial; a trial without a parameter leaves a gap."""
    names, trials = sweep.parameters, sweep.complete
    values = objective_values(sweep, trials, 0)
    largest = sweep.study.directions[0] == StudyDirection.MAXIMIZE
    figure, (axes,) = new_figure(max(7.5, 1.7 * (len(names) + 1)), 4.4)
    spread = np.ptp(values) or 1.0
    last = (values - values.min()) / spread
    places = np.stack([*(Scale(sweep, name).shares(trials) for name in names), last], axis=1)  # (trials, axes)
    worth = last if largest else 1 - last
    order = np.argsort(worth)  # the best are drawn last
    for trial in order:
        known = np.flatnonzero(np.isfinite(places[trial]))
        points = np.stack([known, places[trial, known]], axis=1)
        pieces = [points[i : i + 2] for i in range(len(points) - 1) if points[i + 1, 0] - points[i, 0] == 1]
        shade = 0.15 + 0.85 * worth[trial]
        axes.add_collection(LineCollection(pieces, colors=[_colour(shade)], linewidths=0.8 + 1.2 * worth[trial]))
    axes.set_xlim(-0.35, len(names) + 0.35)
    axes.set_ylim(-0.05, 1.05)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.yaxis.set_major_locator(NullLocator())
    titles = [shortened(name, 20) for name in names] + [axis_name(sweep.objectives[0])]
    axes.set_xticks(range(len(titles)), titles, fontsize=8, rotation=18, ha="right")
    axes.tick_params(length=0)
    own = [(0.0, f"{values.min():.4g}"), (1.0, f"{values.max():.4g}")]
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
    for place, marks in enumerate([*(_ends(Scale(sweep, name)) for name in names), own]):
        axes.axvline(place, color=GREY, linewidth=0.8)
        for height, text in marks:
            axes.text(place + 0.04, height, text, fontsize=7.5, va="center", bbox=box)
    return figure


def _ends(scale: Scale) -> list[tuple[float, str]]:
    if scale.labels:
        step = -(-len(scale.labels) // MOST_TICKS)
        width = scale.high - scale.low
        return [((i - scale.low) / width, shortened(scale.labels[i], 16)) for i in range(0, len(scale.labels), step)]
    return [(0.0, f"{scale.low:.4g}"), (1.0, f"{scale.high:.4g}")]


def _colour(share: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    return colormaps[MAP](share)
