"""What the studies and runs of sweeps.py came to: winner and default compared, what pruning saved, and the page."""

import json
import shlex
import sys
import textwrap
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from speakerlab.data.score_files import read_scores
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.reports.training import best_epoch
from speakerlab.scoring.bootstrap import Difference, bootstrap_metrics, difference
from speakerlab.scoring.trial_metrics import trial_metrics
from speakerlab.sweeping.results import ranked
from speakerlab.sweeping.study import EPOCHS, SECONDS, counted, superseded

DEFAULT, WINNER = "default", "winner"
SYSTEMS = (DEFAULT, WINNER)
DRAWS, ALPHA, POINT = 2000, 0.05, 0.05
METRICS = {"eer": ("EER", 100, ".2f"), f"min_dcf_{POINT}": (f"minDCF({POINT})", 1, ".3f")}  # name, factor, format


class Facts(NamedTuple):
    """What was run."""

    trials: int
    epochs: int
    seeds: list[int]
    given: list[str]  # to every run
    unseen: int  # speakers of the trials that the sweep never saw


class Scored(NamedTuple):
    """A system on the trials that the sweep never saw.

    Attributes:
        found: metric -> `(seeds,)`.
        drawn: metric -> `(seeds, draws)` by a bootstrap over speakers, whose draws all systems share.
        chosen_by: `(seeds,)` EER of the best epoch on the development trials.
    """

    found: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    chosen_by: np.ndarray


def scores_of(folder: Path) -> Path:
    return folder / "scores" / "trials.csv"  # named after the list


def scored(folders: list[Path]) -> Scored:
    """One system's runs, a seed each."""
    found, drawn = [], []
    for folder in folders:
        file = read_scores(scores_of(folder))
        trials = file.trials()
        speakers = speakers_by_targets(trials)
        sides = speakers[trials.enrol], speakers[trials.test]
        found.append(trial_metrics(file.scores, trials.labels, (POINT,)))
        drawn.append(bootstrap_metrics(file.scores, trials.labels, *sides, points=(POINT,), draws=DRAWS))
    return Scored(
        {name: np.array([one[name] for one in found]) for name in METRICS},
        {name: np.stack([one[name] for one in drawn]) for name in METRICS},
        np.array([best_epoch(folder)["eer"] for folder in folders]),
    )


def compared(default: Scored, winner: Scored, metric: str) -> Difference:
    """Winner minus default, of means over seeds; the interval is over speakers."""
    (first, first_drawn), (second, second_drawn) = (
        (one.found[metric].mean(), one.drawn[metric].mean(axis=0)) for one in (default, winner)
    )
    return difference(first, second, first_drawn, second_drawn)


def verdict(default: Scored, winner: Scored) -> str:
    """The outcome in a sentence, whichever it is."""
    eer = compared(default, winner, "eer")
    by_seed = winner.found["eer"] - default.found["eer"]
    if np.array_equal(winner.found["eer"], default.found["eer"]):
        return "The winner is the default configuration: the sweep found nothing better."
    if eer.p_value >= ALPHA:
        return "On speakers that the sweep never heard, no difference between winner and default can be shown."
    better = eer.value < 0
    said = f"On speakers that the sweep never heard, the winner is {'better' if better else 'WORSE'} than the default"
    alike = np.sum((by_seed < 0) == better)
    every = "with every seed" if alike == len(by_seed) else f"on average, but with {alike} of {len(by_seed)} seeds only"
    return f"{said} {every}."


def comparison_lines(seeds: list[int], default: Scored, winner: Scored) -> list[str]:
    """Both systems on trials that the sweep never saw, and on those that it chose by."""
    heads = " | ".join(f"{name}: default | winner | difference" for name, _, _ in METRICS.values())
    lines = [f"| seed | {heads} |", f"|---|{'---|---|---|' * len(METRICS)}"]
    for place, seed in enumerate(seeds):
        cells = []
        for metric in METRICS:
            first, second = (one.found[metric][place] for one in (default, winner))
            cells += [shown(metric, first), shown(metric, second), shown(metric, second - first, "+")]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    cells = []
    for metric in METRICS:
        cells += [shown(metric, one.found[metric].mean()) for one in (default, winner)]
        found = compared(default, winner, metric)
        value, low, high = (shown(metric, number, "+") for number in (found.value, found.low, found.high))
        cells.append(f"{value} ({low} to {high}), p = {found.p_value:.3f}")
    lines.append(f"| mean | {' | '.join(cells)} |")
    mean = [shown("eer", one.chosen_by.mean()) for one in (default, winner)]
    spread = [shown("eer", np.std(one.found["eer"], ddof=1)) for one in (default, winner)]
    return [
        *lines,
        "",
        f"EER in %; intervals of 95 % and p by {DRAWS:,} draws of speakers, which both share. Over seeds the EER has a "
        f"standard deviation of {spread[0]} % (default) and {spread[1]} % (winner), which those leave out. On the 24 "
        f"speakers that the sweep chose by, the same runs have a mean EER of {mean[0]} % and {mean[1]} %.",
    ]


def shown(metric: str, value: float, sign: str = "") -> str:
    """A value, or with `+` a difference."""
    _, factor, form = METRICS[metric]
    return format(factor * value, sign + form)


def pairs_of(pruned: optuna.Study, whole: optuna.Study) -> list[tuple[FrozenTrial, FrozenTrial]]:
    """The trials of the same points."""
    others = {json.dumps(trial.params, sort_keys=True): trial for trial in counted(whole.trials)}
    return [(trial, others[json.dumps(trial.params, sort_keys=True)]) for trial in counted(pruned.trials)]


def default_trial(study: optuna.Study, run: Path) -> FrozenTrial:
    """The trial with the values that a run of the default configuration had."""
    config = OmegaConf.load(run / "config.yaml")
    same = (t for t in counted(study.trials) if all(OmegaConf.select(config, k) == v for k, v in t.params.items()))
    return next(same)


def last_value(trial: FrozenTrial) -> str:
    """What a trial came to, or where it was pruned."""
    if trial.state == TrialState.COMPLETE:
        return f"{100 * trial.value:.2f}"
    if trial.state == TrialState.PRUNED:
        epoch = max(trial.intermediate_values)
        return f"pruned at {100 * trial.intermediate_values[epoch]:.2f} after epoch {epoch}"
    return "failed"


def pruning_lines(pruned: optuna.Study, whole: optuna.Study, noise: float) -> list[str]:
    """What pruning saved and what it cost."""
    pairs = pairs_of(pruned, whole)
    lines = ["| trial | margin | scale | rate | with pruning: EER % | without: EER % |", "|---|---|---|---|---|---|"]
    for first, second in pairs:
        margin, scale, rate = (first.params[key] for key in ("loss.margin", "loss.scale", "optimizer.lr"))
        lines.append(
            f"| {first.number} | {margin:.3f} | {scale:.1f} | {rate:.5f} | {last_value(first)} | {last_value(second)} |"
        )
    lines += ["", "| | epochs trained | minutes of trials | best EER % |", "|---|---|---|---|"]
    epochs, minutes, best = zip(*(cost(study) for study in (pruned, whole)), strict=True)
    for place, name in enumerate(("with pruning", "without")):
        found = f"{shown('eer', best[place].value)} (trial {best[place].number})"
        lines.append(f"| {name} | {epochs[place]} | {minutes[place]:.1f} | {found} |")
    saved = f"{1 - epochs[0] / epochs[1]:.0%} of the epochs; the minutes tell of other programs on the machine, too"
    outcome = f"Pruning saved {saved}. {same_best(*best, noise)} {what_was_lost(pairs)}"
    return [*lines, "", f"{outcome} {interrupted({'with pruning': pruned, 'without': whole})}"]


def cost(study: optuna.Study) -> tuple[int, float, FrozenTrial]:
    """Epochs trained, minutes that the trials took, and the best of them. Optuna's own durations would count the hours
    in which a study that was stopped lay still."""
    epochs = sum(trial.user_attrs.get(EPOCHS, 0) for trial in counted(study.trials))
    seconds = sum(trial.user_attrs.get(SECONDS, 0.0) for trial in study.trials)
    return epochs, seconds / 60, ranked(study)[0]


def interrupted(studies: dict[str, optuna.Study]) -> str:
    """What the minutes leave out, where a study was not run in one go."""
    times = {name: len(superseded(study.trials)) for name, study in studies.items()}
    if not any(times.values()):
        return "No trial was interrupted."
    said = ", ".join(f"{number} of the study {name}" for name, number in times.items() if number)
    return f"Interrupted trials, which went on from their checkpoints: {said}; minutes of killed ones are not counted."


def same_best(best: FrozenTrial, overall: FrozenTrial, noise: float) -> str:
    if best.params == overall.params:
        return "Both have the same best trial."
    apart = best.value - overall.value
    inside = "within" if abs(apart) < 2 * noise else "MORE THAN"
    return (
        f"The best trials differ by {shown('eer', apart, '+')} % EER, {inside} the noise: over seeds, the EER of one "
        f"configuration has a standard deviation of {shown('eer', noise)} % on these trials."
    )


def what_was_lost(pairs: list[tuple[FrozenTrial, FrozenTrial]]) -> str:
    """What the pruned trials would have come to; and whether a trial repeats."""
    ended = [(a, b) for a, b in pairs if b.state == TrialState.COMPLETE]
    stopped = [b.value for a, b in ended if a.state == TrialState.PRUNED]
    both = [(a.value, b.value) for a, b in ended if a.state == TrialState.COMPLETE]
    same = sum(first == second for first, second in both)
    said = f"Of the {len(both)} trials that ended in both, {same} have the same EER to the last digit."
    if not stopped:
        return f"No trial was pruned. {said}"
    place = 1 + sum(b.value < min(stopped) for _, b in ended)
    return (
        f"Of the {len(stopped)} that were pruned, the best would have come to {shown('eer', min(stopped))} %, "
        f"place {place} of {len(ended)}. {said}"
    )


def markdown(ran: Facts, pruned: optuna.Study, whole: optuna.Study, folders: dict[str, list[Path]]) -> str:
    """The dated report."""
    default, winner = (scored(folders[system]) for system in SYSTEMS)
    noise = float(np.sqrt(np.mean([np.var(one.chosen_by, ddof=1) for one in (default, winner)])))
    facts = json.loads((folders[WINNER][0] / "environment.json").read_text())
    _, minutes, best = cost(pruned)
    default_point = default_trial(pruned, folders[DEFAULT][0])
    chosen = " ".join(f"{key}={value:.4g}" for key, value in best.params.items())
    labels = read_scores(scores_of(folders[WINNER][0])).labels
    text = (
        f"{ran.trials} trials of margin, scale and rate in {minutes:.1f} minutes on {facts['cpus']} CPUs: "
        f"ECAPA-TDNN of 256 channels (512 before pooling), crops of 1 s, at most {ran.epochs} epochs of the "
        f"embedded corpus's 80 speakers. The best trial is number {best.number}, {chosen}, with an EER of "
        f"{100 * best.value:.2f} % on the development trials. The default configuration is trial "
        f"{default_point.number}; its EER in %: {last_value(default_point)}."
    )
    unseen = (
        f"Both were trained with {len(ran.seeds)} seeds that the sweep did not use, and scored on "
        f"{labels.sum():,} target and {(labels == 0).sum():,} non-target trials over {ran.unseen} speakers "
        "of a corpus made by another seed; the best epoch is chosen by the development trials."
    )
    command = shlex.join(["python", "benchmarks/sweeps.py", *sys.argv[1:]])
    lines = [f"# A sweep, {date.today()}", "", f"`{command}`", "", *_filled(text), ""]
    lines += ["## The winner and the default on speakers that the sweep never heard", ""]
    lines += [f"**{verdict(default, winner)}**", "", *_filled(unseen), ""]
    lines += [line for one in comparison_lines(ran.seeds, default, winner) for line in _filled(one)]
    lines += ["", "## The same points with pruning and without", ""]
    lines += [line for one in pruning_lines(pruned, whole, noise) for line in _filled(one)]
    lines += ["", f"`{shlex.join(['python', 'sweep.py', 'sweep=margin', *ran.given])}`", ""]
    return "\n".join([*lines, *_filled(machine(facts)), ""])


def machine(facts: dict) -> str:
    """Where and with what it ran, by the `environment.json` of a run."""
    git = facts["git"] or {"commit": "unknown", "changed": False}
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    commit = f"Commit {git['commit']}{', changed' if git['changed'] else ''}"
    return f"Machine: {facts['platform']}, {facts['cpus']} CPUs, {facts['precision']}. {commit}. {libraries}."


def _filled(text: str) -> list[str]:
    """Lines of at most 118 characters; a row of a table stays whole."""
    return [text] if text.startswith("|") or not text else textwrap.wrap(text, 118, break_on_hyphens=False)
