"""Time and memory of an epoch's order, for each sampler in conf/sampler at VoxCeleb's size, and for 10 million items.

    python benchmarks/samplers.py

Each measurement is a process of its own. Writes benchmarks/samplers_<date>.md.
"""

import argparse
import multiprocessing
import resource
import time
import tracemalloc
from datetime import date
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from speakerlab.build import build
from speakerlab.data.batches import EpochBatches, Items
from speakerlab.record import environment
from speakerlab.shipped import CONF
from speakerlab.training.similar_speakers import nearest

UTTERANCES, SPEAKERS = 1_100_000, 6_000
MANY = 10_000_000


def corpus(utterances: int, speakers: int) -> Items:
    """Uneven numbers of utterances, lengths from 4 s with a thin tail to 145 s."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.full(speakers, 4.0))
    classes = np.concatenate([np.arange(speakers), generator.choice(speakers, utterances - speakers, p=shares)])
    return Items(classes, np.minimum(4.0 + generator.exponential(4.2, utterances), 145.0))


def prepared(name: str, overrides: dict, utterances: int, speakers: int) -> EpochBatches:
    """The sampler over a corpus, before anything is drawn."""
    cfg = OmegaConf.load(CONF / "sampler" / f"{name}.yaml")
    sampler = build(OmegaConf.merge(cfg.get("sampler", cfg), overrides), "sampler")
    if hasattr(sampler, "neighbours"):
        sampler.neighbours = np.random.default_rng(0).integers(0, speakers, (speakers, sampler.candidates))
    return EpochBatches(sampler, corpus(utterances, speakers), seed=1)


def measure_time(*case) -> dict:
    """Seconds until the first batch of an epoch, until that of the next, and of the walk through all its batches."""
    batches = prepared(*case)
    times = [time.perf_counter()]
    next(iter(batches))
    times.append(time.perf_counter())
    batches.set_epoch(1)
    epoch = iter(batches)
    next(epoch)
    times.append(time.perf_counter())
    assert sum(1 for _ in epoch) == len(batches) - 1
    times.append(time.perf_counter())
    return dict(zip(("first", "next", "walk"), np.diff(times), strict=True)) | {"batches": len(batches)}


def measure_memory(*case) -> dict:
    """Megabytes allocated for an epoch beyond the items: at most while it is drawn, and all through it."""
    batches = prepared(*case)
    tracemalloc.start()
    epoch = iter(batches)
    next(epoch)
    held, peak = tracemalloc.get_traced_memory()
    return {"held": held / 2**20, "peak": peak / 2**20}


def measure_nearest(classes: int) -> dict:
    """Seconds of a refresh of the neighbours, and the memory that it takes beyond the weights."""
    torch.set_num_threads(1)
    weights = torch.randn(classes, 192)
    nearest(weights[:100], 14)  # what libraries allocate once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    nearest(weights, 14)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def alone(function, *arguments) -> dict:
    """The function's result from a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    names = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
    # VoxCeleb's longest utterance has 145 s, two of which must fit.
    cases = [(name, {"max_seconds": 300} if name == "length_bucketed" else {}, UTTERANCES, SPEAKERS) for name in names]
    cases += [("random", {}, MANY, 100_000), ("random", {"crops_per_utterance": 2}, MANY, 100_000)]
    rows = []
    for name, overrides, utterances, speakers in cases:
        case = (name, overrides, utterances, speakers)
        runs = [alone(measure_time, *case) for _ in range(arguments.repeats)]
        memory = alone(measure_memory, *case)
        settings = "".join(f" {key}={value}" for key, value in overrides.items())

        def spread(key: str, runs: list[dict] = runs) -> str:
            values = sorted(run[key] for run in runs)
            return f"{np.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"

        rows.append(
            f"| {name}{settings} | {utterances:,} | {runs[0]['batches']:,} | {spread('first')} | {spread('next')} "
            f"| {spread('walk')} | {memory['held']:.0f} | {memory['peak']:.0f} |"
        )
        print(rows[-1], flush=True)
    refreshes = [(classes, alone(measure_nearest, classes)) for classes in (SPEAKERS, 30_000)]
    facts = environment()
    git = facts["git"] or {"commit": "unknown", "changed": False}
    lines = [
        f"# Samplers at scale, {date.today()}",
        "",
        "`python benchmarks/samplers.py`",
        "",
        f"{SPEAKERS:,} speakers with uneven numbers of utterances of 4 to 145 s, as many utterances as VoxCeleb2;",
        "100,000 speakers for 10 million. The samplers as in conf/sampler but for what the first column says. Seconds",
        f"are medians (least to most) of {arguments.repeats} processes on one core. The machine was shared with other",
        "work that kept it busy: the least is nearer to the truth. Memory is beyond the items, of 16 bytes each.",
        "",
        "| sampler | utterances | batches | s to the first batch | s to the first of the next epoch | s for all batches"
        " | MB held | MB at most |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Refreshing the neighbours for hard_speakers, 192 dimensions, one thread:",
        "",
        "| classes | seconds | peak MB beyond the weights | the full matrix would take MB |",
        "|---|---|---|---|",
        *(
            f"| {classes:,} | {found['seconds']:.1f} | {found['peak']:.0f} | {classes**2 * 4 / 2**20:,.0f} |"
            for classes, found in refreshes
        ),
        "",
        f"Machine: {facts['platform']}, {facts['cpus']} CPUs. Commit {git['commit']}"
        f"{', changed' if git['changed'] else ''}. Python {facts['python']}, numpy {facts['libraries']['numpy']}, "
        f"torch {facts['libraries']['torch']}.",
        "",
    ]
    path = Path(__file__).parent / f"samplers_{date.today()}.md"
    path.write_text("\n".join(lines))
    print(path.read_text())


if __name__ == "__main__":
    main()
