"""A sweep at work: what it finds, whether that holds for speakers it never heard, and what pruning saves.

    python benchmarks/sweeps.py                                     # whatever stops it, the same command goes on
    python benchmarks/sweeps.py --trials 3 --epochs 2 --seeds 2 3   # a short trial of this program

On the embedded corpus, each step by the command that a user would type, which is printed:

1. `sweep.py sweep=margin`: 20 trials of margin, scale and rate for a small ECAPA-TDNN; hopeless ones are pruned.
2. Its best.yaml and the default configuration are trained with seeds that the sweep did not use, and compared on trials
   of another corpus, made by another seed: none of its speakers was trained on or chosen by.
3. The same points once more, and none is pruned.

Writes sweeps_<date>.md beside this file; a short trial's goes to the folder of its studies and runs, which is
outputs/benchmark_sweeps/<trials>x<epochs>. Without that folder all begins anew.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import optuna
from sweeps_report import SYSTEMS, WINNER, Facts, markdown, scores_of

from speakerlab.cli.launch import compose
from speakerlab.data.corpora.mini import make_mini
from speakerlab.data.synthesis.layout import DEFAULT_LAYOUT, MiniLayout
from speakerlab.sweeping.processes import die_with_parent
from speakerlab.sweeping.study import counted, load

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = ["model.encoder.channels=256", "model.encoder.pooled_channels=512"]
SMALL = ["model=ecapa", *WIDTHS, "loss=aam", "loader.crop_seconds=1.0"]
PRUNED, WHOLE = "pruned", "whole"  # the studies
TRIALS, LENGTH, SEEDS = 20, 6, [2, 3, 4]  # of the page beside this file; the sweep itself has seed 1
# Speakers' numbers go on where those of the embedded corpus end, so that names tell the two corpora apart.
UNSEEN = MiniLayout(train_speakers=len(DEFAULT_LAYOUT.speakers), test_speakers=60, seed=3)


def run(words: list[str]) -> None:
    """A command of this project, which says on the terminal what it does; exits with its status if it fails.

    Who asks this program to stop asks the command, which keeps what it has: a trial that is killed goes on once only.
    """
    print(f"\n$ python {shlex.join(words)}", flush=True)
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    signal.signal(signal.SIGINT, lambda number, frame: None)  # which a terminal sends to the command too
    status = process.wait()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if status:
        sys.exit(status if status > 0 else 128 - status)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--epochs", type=int, default=LENGTH)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="the sweep itself has seed 1")
    arguments = parser.parse_args()
    if len(arguments.seeds) < 2:
        parser.error("--seeds: two at least, so that there is a spread")
    pruned = swept(arguments, PRUNED)
    folders = {system: [trained(arguments, system, seed) for seed in arguments.seeds] for system in SYSTEMS}
    whole = swept(arguments, WHOLE, "pruner=none", points_of(pruned))
    facts = Facts(arguments.trials, arguments.epochs, arguments.seeds, common(arguments), UNSEEN.test_speakers)
    whole_length = (arguments.trials, arguments.epochs, arguments.seeds) == (TRIALS, LENGTH, SEEDS)
    place = Path(__file__).parent if whole_length else ROOT / folder_of(arguments)
    path = place / f"sweeps_{date.today()}.md"
    path.write_text(markdown(facts, pruned, whole, folders))
    print(path.read_text())


if __name__ == "__main__":
    main()
