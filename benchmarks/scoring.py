"""Time and peak memory of scoring and metrics at the size of VoxCeleb1-E, beside the usual routes.

    python benchmarks/scoring.py

579,818 trials over 145,160 random embeddings of 1,251 speakers, on one core, each row in a process of its own. What
would take hours is done on a part, and said to be. Writes benchmarks/scoring_<date>.md.
"""

import argparse
import importlib
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from scoring_routes import (
    DIM,
    EVERY,
    SPEAKERS,
    TRIALS,
    UTTERANCES,
    Work,
    eer_and_costs,
    eer_and_costs_by_roc_curve,
    scored,
)
from threadpoolctl import threadpool_limits

LIBRARIES = ("scipy.interpolate", "scipy.optimize", "sklearn.metrics", "speakerlab.scoring.bootstrap")
REPORT = """# Scoring and metrics at the size of VoxCeleb1-E, {today}

`python benchmarks/scoring.py`

{trials:,} trials over {utterances:,} random embeddings of {speakers:,} speakers, {dim} dimensions, float32; metrics are
in float64. One core, each row in processes of its own. Seconds are the process's CPU time, which on an idle machine is
the clock's: median of {repeats} (least to most) where it is under 10 s; freed memory is kept, as `evaluate.py` does. MB
are the most beyond what the process holds before: libraries, embeddings, trials and, for metrics, scores.

| what | seconds | MB | times ours |
|---|---:|---:|---:|
{rows}

Extrapolated from a part:

{parts}

The EER of the scores is {eer:.2f} %. EER and both minDCF of ours and of scikit-learn's route differ by {agreement:.1e}
at most.

Machine: {machine}, {cpus} CPUs, load before it ran {load:.1f}.
Commit {commit}. Python {python}, {versions}.
"""


def seconds_of(number: int, repeats: int) -> list[float]:
    """CPU seconds of each repeat; freed memory is kept, as `evaluate.py` does."""
    from speakerlab.training.hardware import prepare_cpu

    prepare_cpu(threads=1)
    work, given = ready(number)
    seconds = []
    with threadpool_limits(1):
        while len(seconds) < repeats and (not seconds or seconds[-1] < 10):
            began = time.process_time()
            work.run(*given)
            seconds.append(time.process_time() - began)
    return seconds


def memory_of(number: int) -> float:
    """The most MB beyond what there was before."""
    work, given = ready(number)
    before = restart_peak()
    with threadpool_limits(1):
        work.run(*given)
    return peak_mb() - before


def ready(number: int) -> tuple[Work, tuple]:
    """A row's work and what it takes; libraries are imported before the clock runs."""
    for name in LIBRARIES:
        importlib.import_module(name)
    work = EVERY[number]
    return work, work.prepare()


def restart_peak() -> float:
    """Make the kernel forget the peak so far; MB that the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def peak_mb() -> float:
    """MB of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1]) / 1e6
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def alone(function: Callable, *arguments):
    """The result from a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def agreement() -> tuple[float, float]:
    """The EER in percent, and the largest difference between our numbers and scikit-learn's."""
    given = scored()
    ours, theirs = eer_and_costs(*given), eer_and_costs_by_roc_curve(*given)
    return 100 * ours[0], max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def row(work: Work, seconds: list[float], most: float, medians: dict[str, float]) -> str:
    """A line of the table; remembers the median."""
    medians[work.name] = work.factor * statistics.median(seconds)
    told = f"{medians[work.name]:,.3g}"
    if len(seconds) > 1:
        told += f" ({work.factor * min(seconds):,.3g} to {work.factor * max(seconds):,.3g})"
    if work.factor > 1:
        told += ", extrapolated"
    ratio = f"{medians[work.name] / medians[work.ours]:,.0f}" if work.ours else ""
    return f"| {work.name} | {told} | {most:,.0f}{' of the part' if work.factor > 1 else ''} | {ratio} |"


def report(rows: list[str], repeats: int, load: float) -> str:
    """The Markdown file."""
    from importlib.metadata import version

    from speakerlab.cli.models import processor
    from speakerlab.record import environment

    facts = environment()
    git = facts["git"] or {"commit": "unknown", "changed": False}
    rate, most = alone(agreement)
    return REPORT.format(
        today=date.today(),
        trials=TRIALS,
        utterances=UTTERANCES,
        speakers=SPEAKERS,
        dim=DIM,
        repeats=repeats,
        rows="\n".join(rows),
        parts="\n".join(f"- {work.part}" for work in EVERY if work.part),
        eer=rate,
        agreement=most,
        machine=f"{processor()}, {facts['platform']}",
        commit=git["commit"] + (", changed" if git["changed"] else ""),
        python=facts["python"],
        versions=", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-learn")),
        load=load,
        cpus=facts["cpus"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    rows, medians, load = [], {}, os.getloadavg()[0]
    for number, work in enumerate(EVERY):
        seconds, most = alone(seconds_of, number, arguments.repeats), alone(memory_of, number)
        rows.append(row(work, seconds, most, medians))
        print(rows[-1], flush=True)
    path = Path(__file__).parent / f"scoring_{date.today()}.md"
    path.write_text(report(rows, arguments.repeats, load))
    print(path.read_text())


if __name__ == "__main__":
    main()
