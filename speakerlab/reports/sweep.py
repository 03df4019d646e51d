"""The report of a sweep, from Optuna's study: which parameters matter, what they do, and what was best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from matplotlib.figure import Figure
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from speakerlab.data.amounts import counted, duration
from speakerlab.reports.figure import save_figures
from speakerlab.reports.metric_names import metric_name, metric_value
from speakerlab.reports.page import drawing_section, facts_section, folded_section, table_section, write_report
from speakerlab.reports.sweep_figures import (
    history_figure,
    importance_figure,
    parallel_figure,
    pareto_figure,
    slice_figure,
)

FEWEST = 2  # complete trials, for anything to be compared
FEWEST_FOR_IMPORTANCE = 4
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
IMPORTANCE_NOTE = (
    "fANOVA: the share of the objective's variance over the whole space that a parameter explains alone, by a random "
    "forest. PED-ANOVA: how much it decides whether a trial is among the best tenth. Both are estimates that need "
    "some dozens of trials."
)


@dataclass(frozen=True)
class SweepTrials:
    """A study, as its figures and tables want it.

    Attributes:
        study: Optuna's.
        trials: each once, however often it was stopped and went on.
        objectives: names of the values.
        reasons: number of a failed trial -> why.
    """

    study: optuna.Study
    trials: Sequence[FrozenTrial]
    objectives: Sequence[str]
    reasons: Mapping[int, str]

    @property
    def complete(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE]

    @property
    def front(self) -> list[FrozenTrial]:
        """The best trial, or those on the Pareto front, by their first value."""
        if not self.complete:
            return []
        sign = [-1 if direction == StudyDirection.MAXIMIZE else 1 for direction in self.study.directions]
        found = [trial for trial in self.complete if not any(_dominates(o, trial, sign) for o in self.complete)]
        found.sort(key=lambda trial: (sign[0] * trial.values[0], trial.number))
        return found[:1] if len(self.objectives) == 1 else found

    @property
    def parameters(self) -> list[str]:
        """In the order in which they were met; only those that vary."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.distributions)
        return [name for name in names if not all(trial.distributions[name].single() for trial in self._having(name))]

    def _having(self, name: str) -> list[FrozenTrial]:
        return [trial for trial in self.trials if name in trial.distributions]


def _dominates(first: FrozenTrial, second: FrozenTrial, sign: Sequence[int]) -> bool:
    pairs = [(s * a, s * b) for s, a, b in zip(sign, first.values, second.values, strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def write_sweep_report(folder: Path, sweep: SweepTrials, facts: Mapping[str, object], best: str = "") -> Path:
    """Write `report.html`, with its figures under `plots/`, into a study's folder; returns the page.

    Args:
        folder: of the study.
        sweep: what it holds so far.
        facts: how it was made.
        best: text of `best.yaml`.
    """
    figures = sweep_figures(sweep)
    drawn = save_figures(folder / "plots", {kind: figure for kind, (figure, _, _) in figures.items()}, "sweep")
    sections = [facts_section("Outcome", outcome(sweep))]
    if sweep.front:
        title = "Best trial" if len(sweep.objectives) == 1 else "Pareto front"
        sections.append(table_section(title, trial_rows(sweep, sweep.front)))
    for kind, (_, title, caption) in figures.items():
        sections.append(drawing_section(title, drawn[kind], caption))
    sections.append(table_section("Trials", trial_rows(sweep, sweep.trials)))
    sections.append(facts_section("Sweep", facts))
    if best:
        sections.append(folded_section("best.yaml", best))
    return write_report(folder, f"Sweep {sweep.study.study_name}", *sections, subtitle=str(folder))


def outcome(sweep: SweepTrials) -> dict[str, str]:
    """How many trials there are, what was best, and the way on."""
    states = [trial.state for trial in sweep.trials]
    counts = [f"{states.count(state)} {name}" for state, name in STATES.items() if state in states]
    facts = {
        "objective": ", ".join(metric_name(name) for name in sweep.objectives),
        "trials": ", ".join(counts) or "none yet",
    }
    if len(sweep.objectives) == 1 and sweep.front:
        facts["best"] = f"trial {sweep.front[0].number}: {values_in_words(sweep, sweep.front[0])}"
    elif sweep.front:
        facts["Pareto front"] = counted(len(sweep.front), "trial")
    ended = [trial for trial in sweep.trials if trial.datetime_start and trial.datetime_complete]
    seconds = [(trial.datetime_complete - trial.datetime_start).total_seconds() for trial in ended]
    if seconds:
        facts["time of trials"] = f"{duration(sum(seconds))} in all, {duration(sum(seconds) / len(seconds))} each"
    return facts


def sweep_figures(sweep: SweepTrials) -> dict[str, tuple[Figure, str, str]]:
    """Kind -> figure, heading and caption; those that there are trials enough for."""
    figures: dict[str, tuple[Figure, str, str]] = {}
    if len(sweep.complete) < FEWEST:
        return figures
    figures["history"] = (history_figure(sweep), "History", "The line is the best so far; crosses were pruned there.")
    if len(sweep.objectives) > 1:
        figures["pareto"] = (pareto_figure(sweep), "Pareto front", "No trial is better than these in every objective.")
    if len(sweep.complete) >= FEWEST_FOR_IMPORTANCE and len(sweep.parameters) > 1:
        figures["importance"] = (importance_figure(sweep), "Importance of the parameters", IMPORTANCE_NOTE)
    if sweep.parameters:
        dots = "A dot a complete trial; orange is the best, or the Pareto front."
        figures["slices"] = (slice_figure(sweep), "Slices", dots)
        lines = "A line a complete trial: the bolder, the better."
        figures["parallel"] = (parallel_figure(sweep), "Parallel coordinates", lines)
    return figures


def values_in_words(sweep: SweepTrials, trial: FrozenTrial) -> str:
    return ", ".join(metric_value(name, value) for name, value in zip(sweep.objectives, trial.values, strict=True))


def trial_rows(sweep: SweepTrials, trials: Sequence[FrozenTrial]) -> dict[str, dict[str, str]]:
    """A row a trial: what became of it, its values and parameters."""
    rows = {}
    for trial in trials:
        complete = trial.state == TrialState.COMPLETE
        values = dict(zip(sweep.objectives, trial.values, strict=True)) if complete else {}
        cells = {"": state_in_words(sweep, trial)}
        cells |= {metric_name(name): metric_value(name, values.get(name)) for name in sweep.objectives}
        cells |= {name: number(trial.params[name]) if name in trial.params else "" for name in sweep.parameters}
        rows[f"trial {trial.number}"] = cells
    return rows


def state_in_words(sweep: SweepTrials, trial: FrozenTrial) -> str:
    """`pruned after epoch 3, 8.12 %`, `failed: out of memory`."""
    words, reason = STATES[trial.state], sweep.reasons.get(trial.number)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        words += f" after epoch {last}, {metric_value(sweep.objectives[0], trial.intermediate_values[last])}"
    return f"{words}: {reason}" if reason else words


def number(value: object) -> str:
    """A parameter's value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
