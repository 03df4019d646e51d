"""How long until something answers: `--help`, and the first training step on the embedded corpus.

    python benchmarks/start_up.py
    python benchmarks/start_up.py --repeats 1 -- model.encoder.channels=64 sampler.batch_size=8     # a try

The corpus is made before. The first step is timed from the start of the command to what TensorBoard's events say of the
step. What the libraries take of it is from a run of its own with `-X importtime`, which by itself makes imports slower:
shares count. Writes benchmarks/start_up_<date>.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from resumable import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_input import machine_line, shown

from speakerlab.data.corpora.mini import make_mini

FIRST_STEP = "train.py, until the first training step has ended"
GOALS = {"python train.py --help": 2.0, "speakerlab --help": 0.5, FIRST_STEP: 15.0}
LOGGER = "torch.utils.tensorboard"  # the last that is imported before the first step; figures' libraries come after it
LOSS = "train/loss"
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")
MOST = 12  # libraries that are listed


def training(folder: str, overrides: list[str]) -> list[str]:
    """A run of two steps, both logged."""
    return [
        str(ROOT / "train.py"),
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
        "+trainer.limit_train_batches=2",
        f"output_dir={folder}",
        "name=run",
        *overrides,
    ]


def seconds_of(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def seconds_to_first_step(overrides: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run([sys.executable, *training(folder, overrides)], check=True, stdout=subprocess.DEVNULL)
        (run,) = Path(folder).glob("run/*")
        logs = [EventAccumulator(str(path)).Reload() for path in run.rglob("events.out.*")]
        times = [event.wall_time for log in logs if LOSS in log.Tags()["scalars"] for event in log.Scalars(LOSS)]
        return min(times) - began


def imports(overrides: list[str]) -> dict[str, float]:
    """Seconds of importing each library, without what it imports of others, up to the first step."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-X", "importtime", *training(folder, overrides)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if match := LINE.match(line):
            library = match[2].split(".")[0].lstrip("_")
            seconds[library] = seconds.get(library, 0.0) + int(match[1]) / 1e6
            if match[2] == LOGGER:
                break
    return dict(sorted(seconds.items(), key=lambda entry: -entry[1]))


def report(measured: dict[str, list[float]], libraries: dict[str, float]) -> str:
    """The Markdown file."""
    lines = [
        f"# Start-up, {date.today()}",
        "",
        f"`{shown(['python', *sys.argv])}`",
        "",
        "Seconds of the clock, median (lowest to highest), with libraries in the page cache.",
        "",
        "| what | seconds | wanted |",
        "|---|---:|---:|",
    ]
    for name, values in measured.items():
        goal = f"{GOALS[name]:g}" if name in GOALS else ""
        lines.append(f"| {name} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) | {goal} |")
    listed = dict(list(libraries.items())[:MOST])
    listed["all others"] = sum(libraries.values()) - sum(listed.values())
    lines += ["", f"What is imported until then takes {sum(libraries.values()):.2f} s under `-X importtime`:", ""]
    lines += ["| library, without what it imports of others | seconds |", "|---|---:|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in listed.items()]
    return "\n".join([*lines, "", machine_line(), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / f"start_up_{date.today()}.md")
    parser.add_argument("overrides", nargs="*", help="further key=value arguments of train.py, behind --")
    arguments = parser.parse_args()
    make_mini(Path(os.environ.get("SPEAKERLAB_CACHE", Path.home() / ".cache" / "speakerlab")))
    libraries = imports(arguments.overrides)  # first: from here on, all is in the page cache
    commands = {
        "python, doing nothing": ["-c", "pass"],
        "python train.py --help": [str(ROOT / "train.py"), "--help"],
        "speakerlab --help": ["-m", "speakerlab.cli.main", "--help"],
    }
    measured: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        for name, command in commands.items():
            measured.setdefault(name, []).append(seconds_of(*command))
        measured.setdefault(FIRST_STEP, []).append(seconds_to_first_step(arguments.overrides))
    arguments.output.write_text(report(measured, libraries))
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
