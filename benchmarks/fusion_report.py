"""What the runs of fusion.py came to: metrics with intervals over speakers, paired differences, and the page."""

import csv
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speakerlab.data.score_files import read_scores
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.reports.metric_names import HIGHER_IS_BETTER, metric_name, metric_unit, metric_value, signed_value
from speakerlab.scoring.bootstrap import Difference, bootstrap_metrics, difference, interval
from speakerlab.scoring.identification import ranked_metrics
from speakerlab.scoring.identification_bootstrap import bootstrap_identification
from speakerlab.scoring.trial_metrics import trial_metrics

BRANCHES = ("sincnet", "mel_cnn")
WHO = ("accuracy", "top5_accuracy", "macro_f1")  # of the test utterances
SAME = ("eer", "min_dcf_0.01")  # of the trials
SCORINGS = {"cosine": "", "pair MLP": "_pair_mlp"}  # with the ends of their files' names
DRAWS = 1000
Tries = Mapping[str, Mapping[str, Sequence[str]]]  # branch -> name of a setting -> words of the command
Metric = tuple[str, str]  # how it was scored ("" of an identification), and its name
Found = dict[Metric, tuple[float, NDArray[np.float64]]]  # value, draws `(DRAWS,)`
METRICS: list[Metric] = [("", name) for name in WHO] + [(scoring, name) for scoring in SCORINGS for name in SAME]


@dataclass(frozen=True)
class Outcome:
    """Of one corpus.

    Attributes:
        corpus: its name.
        listed: name of its trial list.
        kind: of fusion that was chosen.
        runs: seed -> name of a system -> its run's folder; the branches and the fusion.
    """

    corpus: str
    listed: str
    kind: str
    runs: Mapping[int, Mapping[str, Path]]


def chosen_kind(rows: Mapping[tuple, dict], corpus: str, seeds: Sequence[int], kinds: Sequence[str]) -> str:
    """The kind of fusion with the lowest validation error, mean over seeds; the first of equals."""
    return min(kinds, key=lambda kind: np.mean([rows[corpus, seed, kind]["error_rate"] for seed in seeds]))


def measured(run: Path, listed: str) -> Found:
    """Each metric of one run, and its draws, which are of the same speakers for every run."""
    found: Found = {}
    with open(run / "scores" / "identification_test_predictions.csv", newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["utterance"])
    names = sorted({row[column] for row in rows for column in ("speaker", "predicted")})
    speakers, predicted = (np.array([names.index(row[column]) for row in rows]) for column in ("speaker", "predicted"))
    rank = np.array([int(row["rank"]) for row in rows])
    values = ranked_metrics(predicted, rank, speakers)
    drawn = bootstrap_identification(rank == 1, predicted, speakers, DRAWS)
    drawn["top5_accuracy"] = bootstrap_identification(rank <= 5, predicted, speakers, DRAWS)["accuracy"]
    found |= {("", name): (values[name], drawn[name]) for name in WHO}
    for scoring, end in SCORINGS.items():
        file = read_scores(run / "scores" / f"{listed}{end}.csv")
        trials = file.trials()
        numbers = speakers_by_targets(trials)
        values = trial_metrics(file.scores, trials.labels)
        drawn = bootstrap_metrics(file.scores, trials.labels, numbers[trials.enrol], numbers[trials.test], draws=DRAWS)
        found |= {(scoring, name): (values[name], drawn[name]) for name in SAME}
    return found


def averaged(found: Sequence[Found]) -> Found:
    """The mean over seeds, of the metrics and of each draw."""
    return {
        metric: (float(np.mean([one[metric][0] for one in found])), np.mean([one[metric][1] for one in found], axis=0))
        for metric in METRICS
    }


def better_branch(means: Mapping[str, Found], metric: Metric) -> str:
    """The branch that is to be beaten: the better one on the test, mean over seeds."""
    choose = max if metric[1] in HIGHER_IS_BETTER else min
    return choose(BRANCHES, key=lambda name: means[name][metric][0])


def against(means: Mapping[str, Found], kind: str, metric: Metric) -> tuple[str, Difference]:
    """The better branch, and the fusion minus it."""
    branch = better_branch(means, metric)
    (first, first_drawn), (second, second_drawn) = means[branch][metric], means[kind][metric]
    return branch, difference(first, second, first_drawn, second_drawn)


def verdict(metric: Metric, found: Difference) -> str:
    """better, worse, or neither, by the interval of the difference."""
    low, high = (found.low, found.high) if metric[1] in HIGHER_IS_BETTER else (-found.high, -found.low)
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no difference beyond the interval"


def words_of(metric: Metric) -> str:
    scoring, name = metric
    unit = metric_unit(name)[1]
    return f"{metric_name(name)}{f' {unit}' if unit else ''}{f', {scoring}' if scoring else ''}"


def number(metric: Metric, value: float) -> str:
    return metric_value(metric[1], value).removesuffix(" %")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def means_table(means: Mapping[str, Found], label: Callable[[str], str]) -> list[str]:
    """Mean over seeds, with the interval over speakers: a row a metric."""
    rows = []
    for metric in METRICS:
        cells = []
        for found in means.values():
            value, drawn = found[metric]
            low, high = interval(drawn)
            cells.append(f"{number(metric, value)} ({number(metric, low)} to {number(metric, high)})")
        rows.append([words_of(metric), *cells])
    return table(["", *map(label, means)], rows)


def seeds_table(every: Mapping[int, Mapping[str, Found]], label: Callable[[str], str]) -> list[str]:
    """Each seed's metrics."""
    rows = [
        [label(system), str(seed), *(number(metric, found[system][metric][0]) for metric in METRICS)]
        for system in next(iter(every.values()))
        for seed, found in every.items()
    ]
    return table(["", "seed", *map(words_of, METRICS)], rows)


def differences_table(means: Mapping[str, Found], kind: str) -> list[str]:
    """The fusion minus the better branch."""
    rows = []
    for metric in METRICS:
        branch, found = against(means, kind, metric)
        value, low, high = (signed_value(metric[1], one) for one in (found.value, found.low, found.high))
        row = [words_of(metric), branch, value, f"{low} to {high}", f"{found.p_value:.3f}", verdict(metric, found)]
        rows.append(row)
    return table(["", "better branch", "fusion minus it", "95 % interval", "p", "the fusion is"], rows)


def development_table(rows: Mapping[tuple, dict], corpus: str, seeds: Sequence[int], kinds: Sequence[str]) -> list[str]:
    """What the validation utterances said, before the test was opened."""
    cells = []
    for name in (*BRANCHES, *kinds):
        runs = [rows[corpus, seed, name] for seed in seeds]
        errors = [100 * run["error_rate"] for run in runs]
        each = ", ".join(f"{error:.2f}" for error in errors)
        epochs = ", ".join(str(run["epoch"]) for run in runs)
        minutes = f"{np.mean([run['minutes'] for run in runs]):.1f}"
        cells.append([name, f"{np.mean(errors):.2f}", each, f"{epochs} of {runs[0]['epochs']}", minutes])
    return table(["", "validation error %, mean", "each seed", "best epoch", "minutes"], cells)


def tries_table(rows: Mapping[tuple, dict], corpus: str, seed: int, tries: Tries) -> list[str]:
    """The settings that were tried first."""
    cells = []
    for name, tried in tries.items():
        for one, words in tried.items():
            row = rows[corpus, seed, f"{name} {one}"]
            error = f"{100 * row['error_rate']:.2f}"
            cells.append([name, f"`{shlex.join(words)}`", str(row["epochs"]), error])
    return table(["", "setting", "epochs", "validation error %"], cells)


def conclusion(means: Mapping[str, Found], kind: str) -> list[str]:
    """What the aim was, and whether it was met: lines that follow from the differences."""
    lines = [f"The fusion that validation chose ({kind}) minus the better branch, with 95 % intervals:", ""]
    for metric in (("", "accuracy"), ("cosine", "eer"), ("pair MLP", "eer")):
        branch, found = against(means, kind, metric)
        value, low, high = (signed_value(metric[1], one) for one in (found.value, found.low, found.high))
        lines.append(f"- {words_of(metric)}: {value} ({low} to {high}) against {branch}: {verdict(metric, found)}")
    return lines


def corpus_section(rows: Mapping[tuple, dict], one: Outcome, kinds: Sequence[str], tries: Tries) -> list[str]:
    """All of one corpus."""
    seeds = list(one.runs)
    every = {
        seed: {name: measured(run, one.listed) for name, run in systems.items()} for seed, systems in one.runs.items()
    }
    means = {name: averaged([found[name] for found in every.values()]) for name in every[seeds[0]]}

    def label(system: str) -> str:
        return f"fusion ({one.kind})" if system == one.kind else system

    counted = f"Means over the seeds ({', '.join(map(str, seeds))}); in brackets 95 % intervals over speakers."
    lines = [f"## {one.corpus}", "", *conclusion(means, one.kind), ""]
    lines += [_wrapped("Development, settings: those with the lowest validation error are taken."), ""]
    lines += [*tries_table(rows, one.corpus, seeds[0], tries), ""]
    lines += [_wrapped(f"Development, kinds: the one with the lowest validation error is {one.kind}."), ""]
    lines += [*development_table(rows, one.corpus, seeds, kinds), ""]
    lines += [_wrapped(f"Test, opened after that. {counted}"), "", *means_table(means, label), ""]
    lines += [*differences_table(means, one.kind), "", "Each seed:", "", *seeds_table(every, label), ""]
    steps = (*BRANCHES, f"{BRANCHES[0]} embeddings", one.kind, f"{BRANCHES[0]} test", f"{one.kind} test")
    commands = [command for step in steps for command in rows[one.corpus, seeds[0], step]["commands"]]
    return [*lines, f"Commands of seed {seeds[0]}; {BRANCHES[1]} has the same:", "", "```", *commands, "```", ""]


def markdown(
    command: str, rows: Mapping[tuple, dict], outcomes: Sequence[Outcome], kinds: Sequence[str], tries: Tries
) -> str:
    """The dated page.

    Args:
        command: that made it.
        rows: of fusion.jsonl.
        outcomes: of each corpus.
        kinds: of fusion that there are.
        tries: what was tried for each branch.
    """
    used = [row for (corpus, _, _), row in rows.items() if corpus in [one.corpus for one in outcomes]]
    text = (
        "Closed-set identification of the training speakers in other recordings of theirs, and trials over speakers "
        "that nothing was trained on; the same utterances for all systems. Branches and fusion learn a decision MLP, "
        "a pair MLP and a linear softmax together, without noise or margins, which SincNet can't take in so few steps. "
        "Differences are the fusion minus the better branch, which is the one "
        "that has the better mean on the test; both systems are drawn over the same speakers, 1,000 times, and a draw "
        "is the mean over seeds. Intervals are over speakers, not over seeds."
    )
    lines = [f"# SincNet, mel CNN and their fusion, {date.today()}", "", f"`{command}`"]
    lines += ["", _wrapped(text), ""]
    for one in outcomes:
        lines += corpus_section(rows, one, kinds, tries)
    commits = ", ".join(sorted({row["commit"] for row in used if "commit" in row}))
    machine = next(row["machine"] for row in used if "machine" in row)
    return "\n".join([*lines, f"{machine}; {sum(row['minutes'] for row in used):.0f} minutes. Commit {commits}.", ""])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)
