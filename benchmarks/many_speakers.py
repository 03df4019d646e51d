"""Memory and time of a training step of the loss over 300,000 speakers, all of them looked at or a sample.

    python benchmarks/many_speakers.py

The loss and the optimizer of the default composition on random embeddings, in a process of its own for each share.
Writes benchmarks/many_speakers_<date>.md. Times on a busy machine are too long; memory does not mind.
"""

import argparse
import itertools
import multiprocessing
import resource
import statistics
import time
from datetime import date
from pathlib import Path

import torch

from speakerlab.build import build, build_loss
from speakerlab.cli.launch import compose
from speakerlab.record import environment

DIM = 192
MB = 2**20
REPORT = """# The loss over many speakers, {today}

`python benchmarks/many_speakers.py`

`loss=aam` with AdamW over {speakers:,} speakers, {dim} dimensions, random embeddings, {steps} steps on {device}. MB are
the most so far, beyond what a loss over 100 speakers takes: to the end of the first forward pass, of the first backward
pass, and of all. Seconds are of a step, median (least to most); the first is left out. Other work may have kept the
machine busy: the least is nearer to the truth.

| batch | sampled_share | MB forward | MB backward | MB at most | s a step |
|---|---|---|---|---|---|
{rows}

Every share has the weights, {weights:,.0f} MB, their gradient and AdamW's two moments, as large each:
{everything:,.0f} MB. What a sample saves are the cosines, their gradients and what is made of them, 4 bytes for an
item of the batch and a speaker looked at. The logits that are returned, for the accuracy, have a value for each speaker
all the same, but no gradient.

Machine: {platform}, {cpus} CPUs, {threads} threads. Commit {commit}. Python {python}, torch {torch}.
"""


def peak(device: str) -> float:
    """The most memory of this process so far, in MB; on a GPU, of its tensors."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(speakers: int, batch: int, share: float, steps: int, device: str, threads: int) -> dict:
    """The most MB so far, beyond what the program takes by itself, after stages of the first step and in the end, and
    the seconds of each further step."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    cfg, _ = compose("train", ["loss=aam", f"loss.sampled_share={share}"])
    warm = build_loss(cfg, DIM, 100).to(device)  # what libraries allocate once
    warm(torch.randn(4, DIM, device=device), torch.arange(4, device=device))[0].backward()
    before, found, seconds = peak(device), {}, []

    def note(stage: str) -> None:
        found.setdefault(stage, peak(device) - before)

    loss = build_loss(cfg, DIM, speakers).to(device)
    optimizer = build(cfg.optimizer, "optimizer", loss.parameters())
    for _ in range(steps):
        embeddings = torch.randn(batch, DIM, device=device, requires_grad=True)
        labels = torch.randint(speakers, (batch,), device=device)
        started = time.perf_counter()
        value, logits = loss(embeddings, labels)
        logits.argmax(dim=1)  # for the accuracy, as in training
        del logits
        note("forward")
        optimizer.zero_grad()
        value.backward()
        note("backward")
        optimizer.step()
        value.item()
        seconds.append(time.perf_counter() - started)
    note("end")
    return found | {"seconds": seconds[1:]}  # the first allocates


def alone(*arguments) -> dict:
    """The measurement from a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def report(arguments: argparse.Namespace, device: str, rows: list[str]) -> str:
    """The Markdown file."""
    facts = environment()
    git = facts["git"] or {"commit": "unknown", "changed": False}
    return REPORT.format(
        today=date.today(),
        speakers=arguments.speakers,
        dim=DIM,
        steps=arguments.steps,
        device=device,
        rows="\n".join(rows),
        weights=arguments.speakers * DIM * 4 / MB,
        everything=4 * arguments.speakers * DIM * 4 / MB,
        platform=facts["platform"],
        cpus=facts["cpus"],
        threads=arguments.threads,
        commit=git["commit"] + (", changed" if git["changed"] else ""),
        python=facts["python"],
        torch=facts["libraries"]["torch"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=300_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for batch, share in itertools.product(arguments.batches, arguments.shares):
        found = alone(arguments.speakers, batch, share, arguments.steps, device, arguments.threads)
        middle, seconds = statistics.median(found["seconds"]), found["seconds"]
        rows.append(
            f"| {batch} | {share} | {found['forward']:,.0f} | {found['backward']:,.0f} | {found['end']:,.0f} "
            f"| {middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) |"
        )
        print(rows[-1], flush=True)
    path = Path(__file__).parent / f"many_speakers_{date.today()}.md"
    path.write_text(report(arguments, device, rows))
    print(path.read_text())


if __name__ == "__main__":
    main()
