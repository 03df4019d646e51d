"""Five first systems for closed-set identification on the embedded corpus, and a CNN on LPC as ours: their accuracy.

    python benchmarks/student_systems.py --noise NOISE
    python benchmarks/student_systems.py --systems cnn_mfcc lstm_lpc --epochs 2

Each run is the ordinary command, printed before it starts. Whatever stops this program, the same command goes on where
it stopped; finished runs are not repeated. Writes benchmarks/student_systems_<date>.md and .png. NOISE is any folder of
noise recordings, such as MUSAN's.
"""

import argparse
import csv
import json
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speakerlab.reports.curves import read_metrics
from speakerlab.reports.figure import COLOURS, GREY, new_figure

SYSTEMS = {
    "cnn_mfcc": "CNN on MFCC",
    "cnn_mel": "CNN on mel",
    "cnn_lpc": "CNN on LPC (ours)",
    "lstm_mfcc": "LSTM on MFCC",
    "lstm_mel": "LSTM on mel",
    "lstm_lpc": "LSTM on LPC",
}
MEASURED = {"accuracy": "top 1", "top5_accuracy": "top 5", "macro_f1": "macro F1"}
SPEAKERS = 80  # of the embedded corpus


def train_command(arguments: argparse.Namespace, system: str) -> list[str]:
    """The user's own command for one system."""
    noise = [f"augment.noise_dir={arguments.noise}"] if arguments.noise else []
    return [
        "train.py",
        f"experiment={system}",
        f"name=benchmark_{system}",
        f"trainer.max_epochs={arguments.epochs}",
        *noise,
        *arguments.overrides,
        "ckpt=last",
    ]


def finished_run(command: list[str], runs: Path) -> Path | None:
    """The folder of a run that this command has brought to its end."""
    for folder in sorted(runs.glob("*/")):
        same = f"{shlex.join(['python', *command])}\n" in (folder / "command.txt").read_text()
        if same and json.loads((folder / "status.json").read_text())["status"] == "finished":
            return folder
    return None


def run_system(arguments: argparse.Namespace, system: str) -> Path:
    """Train and evaluate one system as far as that has not been done; the run's folder."""
    command, runs = train_command(arguments, system), Path("outputs") / f"benchmark_{system}"
    folder = finished_run(command, runs)
    if folder is None:
        print("python", *command, flush=True)
        subprocess.run([sys.executable, *command], check=True)
        folder = finished_run(command, runs)
    if not (folder / "metrics" / "test_metrics.csv").is_file():
        subprocess.run([sys.executable, "evaluate.py", f"ckpt={folder}"], check=True)
    return folder


def result(folder: Path) -> dict[str, float]:
    """What the best epoch, chosen by the validation session, has on the test session."""
    with open(folder / "metrics" / "test_metrics.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    epochs = len(read_metrics(folder / "metrics" / "val_metrics.csv")["epoch"])
    return {name: float(row[name]) for name in MEASURED} | {"epochs": epochs}


def chart(results: dict[str, dict[str, float]]) -> Figure:
    """Bars of top 1 and top 5 of each system, the best above."""
    names = sorted(results, key=lambda name: results[name]["accuracy"])
    figure, (axes,) = new_figure(7.2, 1.2 + 0.55 * len(names))
    places = np.arange(len(names))
    for offset, measure, colour in ((0.19, "accuracy", COLOURS[0]), (-0.19, "top5_accuracy", COLOURS[4])):
        values = [100 * results[name][measure] for name in names]
        bars = axes.barh(places + offset, values, height=0.36, color=colour, label=MEASURED[measure])
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.axvline(100 / SPEAKERS, color=GREY, linewidth=1.0, linestyle="--", label="chance, top 1")
    axes.set_yticks(places, [SYSTEMS[name] for name in names])
    axes.set(xlabel="test utterances identified (%)", xlim=(0, 108), xticks=range(0, 101, 20))
    axes.grid(False, axis="y")
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def markdown(arguments: argparse.Namespace, folders: dict[str, Path], picture: str) -> str:
    """The dated report."""
    facts = json.loads((next(iter(folders.values())) / "environment.json").read_text())
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    noise = "reverberation and noise" if arguments.noise else "reverberation of simulated rooms (no noise was given)"
    lines = [
        f"# Five first systems and one of ours, {date.today()}",
        "",
        f"Closed-set identification of the embedded corpus' {SPEAKERS} speakers: a session of four utterances each to",
        f"train on, another to choose the epoch by, the third to test. Softmax, {noise} and masks, at most",
        f"{arguments.epochs} epochs, early stopping after 10 without a better validation accuracy. One seed: on 320",
        "test utterances the standard error of an accuracy of 50 % is 2.8 %.",
        "",
        f"`python {' '.join(train_command(arguments, next(iter(folders))))}`".replace(str(arguments.noise), "NOISE"),
        "",
        f"![Accuracy of each system]({picture})",
        "",
        f"| system | {' % | '.join(MEASURED.values())} % | epochs |",
        f"|---|{'---|' * len(MEASURED)}---|",
    ]
    for system, folder in folders.items():
        values = result(folder)
        shown = " | ".join(f"{100 * values[name]:.1f}" for name in MEASURED)
        lines.append(f"| {SYSTEMS[system]}: `{system}` | {shown} | {values['epochs']} |")
    lines += [
        "",
        f"Machine: {facts['platform']}, {facts['cpus']} CPUs, {facts['precision']}.",
        f"Commit {facts['git']['commit']}{', changed' if facts['git']['changed'] else ''}. {libraries}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("overrides", nargs="*", help="further key=value arguments of train.py")
    arguments = parser.parse_args()
    folders = {system: run_system(arguments, system) for system in arguments.systems}
    stem = Path(__file__).parent / f"student_systems_{date.today()}"
    chart({system: result(folder) for system, folder in folders.items()}).savefig(stem.with_suffix(".png"), dpi=150)
    stem.with_suffix(".md").write_text(markdown(arguments, folders, f"{stem.name}.png"))
    print(stem.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
