"""ECAPA-TDNN trained on real speech on a CPU for a fixed time, over several seeds: EER and minDCF.

    python benchmarks/real_speech.py --speech DIR --experiment real_speech --seeds 1 2 3

Each run is the ordinary command, printed before it starts; finished runs are not repeated. Writes
benchmarks/real_speech_<date>.md. DIR holds train/so762, train/librispeech and trials/dev_so762.txt.
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

from speakerlab.data.development import read_development_trials
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.reports.curves import read_metrics
from speakerlab.reports.training import best_epoch
from speakerlab.scoring.bootstrap import bootstrap_metrics, interval


def train_command(arguments: argparse.Namespace, seed: int) -> list[str]:
    """The user's own command for one seed."""
    speech = arguments.speech
    return [
        "train.py",
        "model=ecapa",
        "loss=aam",
        "data=folder",
        f"data.root=[{speech}/train/so762,{speech}/train/librispeech]",
        f"data.trials={speech}/trials/dev_so762.txt",
        f"data.trials_root={speech}",
        f"experiment={arguments.experiment}",
        f"seed={seed}",
        f"name=benchmark_{arguments.experiment}_seed{seed}",
        *arguments.overrides,
    ]


def run_seed(arguments: argparse.Namespace, seed: int) -> Path:
    """Train and evaluate one seed unless that has been done; returns the run's folder."""
    command = train_command(arguments, seed)
    runs = Path("outputs") / f"benchmark_{arguments.experiment}_seed{seed}"
    for folder in sorted(runs.glob("*/")):
        same = f"{shlex.join(['python', *command])}\n" in (folder / "command.txt").read_text()
        if same and (folder / "benchmark.json").is_file():
            return folder
    print("python", *command, flush=True)
    started, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    folder = sorted(runs.glob("*/"))[-1]
    timing = {
        "wall_minutes": (time.monotonic() - started) / 60,
        "cpu_minutes": (after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime) / 60,
    }
    subprocess.run([sys.executable, "evaluate.py", f"ckpt={folder}/checkpoints/last.ckpt"], check=True)
    (folder / "benchmark.json").write_text(json.dumps(timing))
    return folder


def result(folder: Path) -> dict[str, float]:
    """Last epoch's metrics (no choice among epochs by the very trials that are reported), and the run's time."""
    table = read_metrics(folder / "metrics" / "val_metrics.csv")
    last = {name: float(column[-1]) for name, column in table.items()}
    return last | json.loads((folder / "benchmark.json").read_text()) | {"best_eer": best_epoch(folder)["eer"]}


def mean_interval(folders: list[Path]) -> tuple[float, float]:
    """95 % interval over speakers of the mean EER over seeds: the same draws of speakers for every seed."""
    eers = []
    for folder in folders:
        trials, _ = read_development_trials(folder)
        scores = np.loadtxt(folder / "scores" / "development.txt", usecols=3)
        speakers = speakers_by_targets(trials)
        drawn = bootstrap_metrics(scores, trials.labels, speakers[trials.enrol], speakers[trials.test], points=())
        eers.append(drawn["eer"])
    return interval(np.mean(eers, axis=0))


def markdown(arguments: argparse.Namespace, folders: list[Path]) -> str:
    """The dated report."""
    results = [result(folder) for folder in folders]
    facts = json.loads((folders[0] / "environment.json").read_text())
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    lines = [
        f"# ECAPA-TDNN on real speech, two CPU cores, {date.today()}",
        "",
        "Trials: `dev_so762.txt`, 14,400 same-session trials over 24 speakers that are not trained on.",
        "Such trials are easier than VoxCeleb's: the channel helps. `norm=none`, which keeps it, was",
        "chosen on this very list (see real_speech_tried.md). Metrics are those of the last epoch; the best epoch's",
        "EER is beside them for comparison only. The reference without a network, mfcc_lda.py, gives 11.2 % here.",
        "",
        f"`python {' '.join(train_command(arguments, arguments.seeds[0]))}`".replace(str(arguments.speech), "DIR"),
        "",
        "| seed | EER % | minDCF(0.01) | minDCF(0.05) | best epoch's EER % | minutes | CPU minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, values in zip(arguments.seeds, results, strict=True):
        lines.append(
            f"| {seed} | {100 * values['eer']:.2f} | {values['min_dcf_0.01']:.3f} | {values['min_dcf_0.05']:.3f} "
            f"| {100 * values['best_eer']:.2f} | {values['wall_minutes']:.1f} | {values['cpu_minutes']:.1f} |"
        )
    eers = [values["eer"] for values in results]
    low, high = mean_interval(folders)
    spread = f"standard deviation over seeds {100 * np.std(eers, ddof=1):.2f}" if len(eers) > 1 else "one seed"
    lines += [
        "",
        f"Mean EER {100 * np.mean(eers):.2f} % ({spread}; "
        f"95 % interval by bootstrap over speakers {100 * low:.2f} to {100 * high:.2f} %).",
        "",
        f"Machine: {facts['platform']}, {facts['cpus']} CPUs, {facts['precision']}.",
        f"Commit {facts['git']['commit']}{', changed' if facts['git']['changed'] else ''}. {libraries}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--experiment", default="real_speech")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("overrides", nargs="*", help="further key=value arguments of train.py")
    arguments = parser.parse_args()
    folders = [run_seed(arguments, seed) for seed in arguments.seeds]
    path = Path(__file__).parent / f"{arguments.experiment}_{date.today()}.md"
    path.write_text(markdown(arguments, folders))
    print(path.read_text())


if __name__ == "__main__":
    main()
