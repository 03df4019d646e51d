"""The benchmarks of speed and memory that this machine allows, one after another, and one report of them all.

    make bench                                                # hours; a killed one goes on with the same command
    python benchmarks/bench.py --only start_up input_path
    python benchmarks/bench.py --list
    python benchmarks/bench.py --fresh                        # once more, though nothing has changed

Each is a script of this folder, which writes its own dated report; what has been measured at this commit is not
measured again. The report of them all, bench_<date>.md, says what ran and how long it took, and repeats theirs. Leave
the machine alone meanwhile: nothing here is a test, and a busy machine makes no figure wrong but all of them useless.
"""

import argparse
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
from resumable import append_result, read_results
from training_input import machine_line

from speakerlab.record import environment

HERE = Path(__file__).parent
RESULTS = Path(__file__).with_suffix(".jsonl")
KEYS = ("name", "commit")


class Bench(NamedTuple):
    """A script of this folder."""

    name: str
    what: str
    arguments: tuple[str, ...] = ()
    on_gpu: bool = False  # alone


# Short ones first; those that train for hours to find errors, not speed, have their own commands.
BENCHES = (
    Bench("start_up", "until --help and the first training step"),
    Bench("profile_step", "where a training step's time goes"),
    Bench("input_path", "reading and augmenting"),
    Bench("samplers", "the order of an epoch"),
    Bench("many_speakers", "the loss over 300,000 speakers"),
    Bench("scoring", "scoring and metrics at VoxCeleb1-E's size"),
    Bench("large_manifest", "a manifest of ten million rows"),
    Bench("train_speed", "training by the ordinary command, its switches, and a peer"),
)


def run(bench: Bench, commit: str) -> dict:
    """Run a script; its line of the results."""
    print(f"\n== {bench.name}: {bench.what}", flush=True)
    began, clock = time.time(), time.monotonic()
    done = subprocess.run([sys.executable, str(HERE / f"{bench.name}.py"), *bench.arguments], cwd=HERE.parent)
    reports = [path for path in HERE.glob(f"{bench.name}_????-??-??.md") if path.stat().st_mtime >= began]
    return {
        "name": bench.name,
        "commit": commit,
        "minutes": (time.monotonic() - clock) / 60,
        "fault": "" if done.returncode == 0 and reports else f"exit status {done.returncode}",
        "report": max(reports).name if reports else "",
    }


def commit_here() -> str:
    """Of the checkout; changes do not count, which an older report of the same day is when it is written over."""
    git = environment()["git"]
    return git["commit"] if git else "unknown"


def state(bench: Bench, row: dict | None) -> str:
    """The last column of the table."""
    if not allowed(bench):
        return "needs a GPU, and there is none"
    if row is None:
        return "not run"
    return row["fault"] or f"[{row['report']}]({row['report']})"


def allowed(bench: Bench) -> bool:
    """Whether the machine has what it needs."""
    return torch.cuda.is_available() or not bench.on_gpu


def report(rows: dict[tuple, dict], commit: str) -> str:
    """The table of contents, and every report with its headings a level lower."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    lines = [f"# Benchmarks, {date.today()}", "", f"`make bench`. {machine_line(device)}", ""]
    lines += ["| benchmark | what | minutes | report |", "|---|---|---:|---|"]
    repeated = []
    for bench in BENCHES:
        row = rows.get((bench.name, commit))
        minutes = f"{row['minutes']:.1f}" if row else ""
        lines.append(f"| {bench.name} | {bench.what} | {minutes} | {state(bench, row)} |")
        if row and row["report"] and (HERE / row["report"]).is_file():
            repeated += ["", *lowered((HERE / row["report"]).read_text().splitlines())]
    return "\n".join([*lines, *repeated, ""])


def lowered(lines: list[str]) -> list[str]:
    """Markdown with each heading a level lower; what stands in a block of code is left alone."""
    found, in_code = [], False
    for line in lines:
        in_code ^= line.startswith("```")
        found.append(f"#{line}" if line.startswith("#") and not in_code else line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [bench.name for bench in BENCHES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="some of them")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--fresh", action="store_true", help="run what has been run at this commit, too")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(f"{bench.name:<16}{bench.what}" for bench in BENCHES), sep="\n")
        return
    commit = commit_here()
    path = HERE / f"bench_{date.today()}.md"
    for bench in BENCHES:
        row = read_results(RESULTS, KEYS).get((bench.name, commit))
        due = arguments.fresh or row is None or row["fault"]
        if bench.name in arguments.only and due and allowed(bench):
            append_result(RESULTS, run(bench, commit))
            path.write_text(report(read_results(RESULTS, KEYS), commit))  # whatever becomes of the next one
    path.write_text(report(read_results(RESULTS, KEYS), commit))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
