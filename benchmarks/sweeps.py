"""A sweep at work: what it finds, whether that holds for speakers it never heard, and what pruning saves.

    python benchmarks/sweeps.py                                   # whatever stops it, the same command goes on
    python benchmarks/sweeps.py --trials 3 --epochs 2 --seeds 2   # a short trial of this program

On the embedded corpus, each step by the command that a user would type, which is printed:

1. `sweep.py sweep=margin`: 20 trials of margin, scale and rate for a small ECAPA-TDNN; hopeless ones are pruned.
2. Its best.yaml and the default configuration are trained with seeds that the sweep did not use, and compared on trials
   of another corpus, made by another seed: none of its speakers was trained on or chosen by.
3. The same points once more, and none is pruned.

Writes sweeps_<date>.md beside this file. Studies and runs lie in outputs/benchmark_sweeps/<trials>x<epochs>; without
that folder all begins anew.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from speakerlab.cli.launch import compose
from speakerlab.data.corpora.mini import make_mini
from speakerlab.data.score_files import read_scores
from speakerlab.data.synthesis.layout import DEFAULT_LAYOUT, MiniLayout
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.reports.training import best_epoch
from speakerlab.scoring.bootstrap import Difference, bootstrap_metrics, difference
from speakerlab.scoring.trial_metrics import trial_metrics
from speakerlab.sweeping.processes import die_with_parent
from speakerlab.sweeping.results import ranked
from speakerlab.sweeping.study import EPOCHS, counted, load

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = ["model.encoder.channels=256", "model.encoder.pooled_channels=512"]
SMALL = ["model=ecapa", *WIDTHS, "loss=aam", "loader.crop_seconds=1.0"]
PRUNED, WHOLE = "pruned", "whole"  # the studies
DEFAULT, WINNER = "default", "winner"
SYSTEMS = (DEFAULT, WINNER)
# Speakers' numbers go on where those of the embedded corpus end, so that names tell the two corpora apart.
UNSEEN = MiniLayout(train_speakers=len(DEFAULT_LAYOUT.speakers), test_speakers=60, seed=3)
DRAWS, ALPHA, POINT = 2000, 0.05, 0.05
METRICS = {"eer": ("EER", 100, ".2f"), f"min_dcf_{POINT}": (f"minDCF({POINT})", 1, ".3f")}  # name, factor, format


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


def run(words: list[str]) -> None:
    """A command of this project, which says on the terminal what it does; exits with its status if it fails."""
    print(f"\n$ python {shlex.join(words)}", flush=True)
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    status = subprocess.run(command, cwd=ROOT, preexec_fn=die_with_parent).returncode
    if status:
        sys.exit(status)


def common(arguments: argparse.Namespace) -> list[str]:
    """What every run is given."""
    return [*SMALL, f"trainer.max_epochs={arguments.epochs}"]


def folder_of(arguments: argparse.Namespace) -> Path:
    return Path("outputs", "benchmark_sweeps", f"{arguments.trials}x{arguments.epochs}")


def swept(arguments: argparse.Namespace, name: str, *own: str) -> optuna.Study:
    """The study, which is begun, gone on with or found complete."""
    runs = folder_of(arguments)
    given = ["sweep=margin", f"n_trials={arguments.trials}", *common(arguments), f"study={name}", f"output_dir={runs}"]
    run(["sweep.py", *given, *own])
    return load(name, output_dir=ROOT / runs)


def points_of(study: optuna.Study) -> str:
    """The points that were tried, in their order, as `sweep.points=` takes them."""
    points = ["{" + ", ".join(f"{k}: {v!r}" for k, v in trial.params.items()) + "}" for trial in counted(study.trials)]
    return f"sweep.points=[{', '.join(points)}]"


def trained(arguments: argparse.Namespace, system: str, seed: int) -> Path:
    """A run of a system to its end, and its scores on the trials that the sweep never saw."""
    runs = folder_of(arguments)
    best = [f"experiment={runs / 'sweeps' / PRUNED / 'best.yaml'}"]
    given = best if system == WINNER else common(arguments)
    name = f"{system}_seed{seed}"
    folders = [path.parent for path in (ROOT / runs / name).glob("*/status.json")]
    finished = [path for path in folders if json.loads((path / "status.json").read_text())["status"] == "finished"]
    if not finished:
        run(["train.py", *given, f"seed={seed}", f"name={name}", f"output_dir={runs}", "ckpt=last"])
        return trained(arguments, system, seed)
    (folder,) = finished
    if not scores_of(folder).is_file():
        root = unseen_corpus()
        trials = [f"trials={root}/trials.txt", f"trials_root={root}"]
        run(["evaluate.py", f"ckpt={folder.relative_to(ROOT)}", *trials, "bootstrap_draws=0"])
    return folder


def unseen_corpus() -> Path:
    """Made on first use."""
    cfg, _ = compose("train", [])
    return make_mini(Path(cfg.cache_dir).expanduser(), layout=UNSEEN)


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
    saved = f"{1 - epochs[0] / epochs[1]:.0%} of the epochs and {1 - minutes[0] / minutes[1]:.0%} of the time"
    return [*lines, "", f"Pruning saved {saved}. {same_best(*best, noise)} {what_was_lost(pairs)}"]


def cost(study: optuna.Study) -> tuple[int, float, FrozenTrial]:
    """Epochs trained, minutes that the trials took, and the best of them."""
    epochs = sum(trial.user_attrs.get(EPOCHS, 0) for trial in counted(study.trials))
    seconds = sum(trial.duration.total_seconds() for trial in study.trials if trial.duration)
    return epochs, seconds / 60, ranked(study)[0]


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


def markdown(
    arguments: argparse.Namespace, pruned: optuna.Study, whole: optuna.Study, folders: dict[str, list[Path]]
) -> str:
    """The dated report."""
    default, winner = (scored(folders[system]) for system in SYSTEMS)
    noise = float(np.sqrt(np.mean([np.var(one.chosen_by, ddof=1) for one in (default, winner)])))
    facts = json.loads((folders[WINNER][0] / "environment.json").read_text())
    first, (_, minutes, best) = counted(pruned.trials)[0], cost(pruned)
    chosen = " ".join(f"{key}={value:.4g}" for key, value in best.params.items())
    labels = read_scores(scores_of(folders[WINNER][0])).labels
    text = (
        f"{arguments.trials} trials of margin, scale and rate in {minutes:.1f} minutes on {facts['cpus']} CPUs: "
        f"ECAPA-TDNN of 256 channels (512 before pooling), crops of 1 s, at most {arguments.epochs} epochs of the "
        f"embedded corpus's 80 speakers. The best trial is number {best.number}, {chosen}, with an EER of "
        f"{100 * best.value:.2f} % on the development trials; the default configuration, trial {first.number}, "
        f"has {last_value(first)} %."
    )
    unseen = (
        f"Both were trained with {len(arguments.seeds)} seeds that the sweep did not use, and scored on "
        f"{labels.sum():,} target and {(labels == 0).sum():,} non-target trials over {UNSEEN.test_speakers} speakers "
        "of a corpus made by another seed; the best epoch is chosen by the development trials."
    )
    lines = [f"# A sweep, {date.today()}", "", "`python benchmarks/sweeps.py`", "", *_filled(text), ""]
    lines += ["## The winner and the default on speakers that the sweep never heard", ""]
    lines += [f"**{verdict(default, winner)}**", "", *_filled(unseen), ""]
    lines += [line for one in comparison_lines(arguments.seeds, default, winner) for line in _filled(one)]
    lines += ["", "## The same points with pruning and without", ""]
    lines += [line for one in pruning_lines(pruned, whole, noise) for line in _filled(one)]
    lines += ["", f"`{shlex.join(['python', 'sweep.py', 'sweep=margin', *common(arguments)])}`", ""]
    return "\n".join([*lines, *_filled(machine(facts)), ""])


def machine(facts: dict) -> str:
    """Where and with what it ran, by the `environment.json` of a run."""
    git = facts["git"] or {"commit": "unknown", "changed": False}
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    commit = f"Commit {git['commit']}{', changed' if git['changed'] else ''}"
    return f"Machine: {facts['platform']}, {facts['cpus']} CPUs, {facts['precision']}. {commit}. {libraries}."


def _filled(text: str) -> list[str]:
    """Lines of at most 118 characters; a row of a table stays whole."""
    return [text] if text.startswith("|") or not text else textwrap.wrap(text, 118)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4], help="the sweep itself has seed 1")
    arguments = parser.parse_args()
    if len(arguments.seeds) < 2:
        parser.error("--seeds: two at least, so that there is a spread")
    signal.signal(signal.SIGINT, lambda number, frame: None)  # the command that runs gets it too, and keeps what it has
    pruned = swept(arguments, PRUNED)
    folders = {system: [trained(arguments, system, seed) for seed in arguments.seeds] for system in SYSTEMS}
    whole = swept(arguments, WHOLE, "pruner=none", points_of(pruned))
    path = Path(__file__).with_name(f"sweeps_{date.today()}.md")
    path.write_text(markdown(arguments, pruned, whole, folders))
    print(path.read_text())


if __name__ == "__main__":
    main()
