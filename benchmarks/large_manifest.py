"""What a manifest of ten million rows costs: seconds and memory up to the first training batch.

    python benchmarks/large_manifest.py                  # needs 3 GB of disk for some minutes
    python benchmarks/large_manifest.py --rows 1000000

Makes a manifest in a temporary folder, with a real file behind each row that is going to be read, and opens it in
fresh processes, with data workers forked and started anew; a manifest of 10,000 rows beside it tells what the program
takes by itself. Writes benchmarks/large_manifest_<date>.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile

ROWS, SMALL = 10_000_000, 10_000
ROWS_PER_SPEAKER, HELD_OUT, TRIALS = 100, 20, 10_000
BATCH, BATCHES, WORKERS, SEED = 128, 8, 2, 1
FILE_SAMPLES = 48000
LOADED = WORKERS * 4 + BATCHES  # batches that workers read, those ahead included


def make(folder: Path, rows: int) -> None:
    """Write `folder/manifest.parquet`: VoxCeleb's form of names, about 130 bytes a row."""
    from speakerlab.data.manifest import write_manifest

    def numbers(prefix: str, values: np.ndarray, width: int) -> pa.Array:
        return pc.binary_join_element_wise(prefix, pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0"), "")

    row = np.arange(rows)
    speaker, session = numbers("id", row // ROWS_PER_SPEAKER, 6), numbers("v", row // 10, 10)
    path = pc.binary_join_element_wise(speaker, session, numbers("", row % 10, 5), "/")
    path = pc.binary_join_element_wise(path, "wav", ".")
    root = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([str(folder / "audio")]))
    columns = {
        "utterance": path,
        "speaker": speaker,
        "session": session,
        "root": root,
        "path": path,
        "first_sample": np.zeros(rows, np.int64),
        "samples": np.random.default_rng(SEED).integers(32000, FILE_SAMPLES, rows),
        "sample_rate": np.full(rows, 16000, np.int32),
        "split": pa.array([""] * rows),
        "gender": pa.array([""] * rows),
    }
    write_manifest(pa.table(columns), folder / "manifest.parquet")


class Memory:
    """A process's memory from /proc in MB.

    Attributes:
        rss: all of its pages; those of the mapped manifest and of libraries too, which it shares with others.
        pss: the same, a page shared by n processes counted as 1 / n.
        heap: those of no file: what the process has allocated, and the kernel can't drop.
        own: pages that no other process has at the time.
    """

    def __init__(self, pid: int | str = "self"):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        self.rss = kilobytes["Rss"] / 1024
        self.pss = kilobytes["Pss"] / 1024
        self.heap = kilobytes["Anonymous"] / 1024
        self.own = (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024


def measure(folder: Path, start: str) -> None:
    """In a fresh process: what train.py does with a manifest, step by step; prints JSON."""
    from torch.utils.data import DataLoader

    from speakerlab.augment.recipe import Recipe
    from speakerlab.data.corpus import Corpus, check_disjoint, hold_out_speakers
    from speakerlab.data.crops import collate
    from speakerlab.data.manifest import file_of, read_manifest
    from speakerlab.data.recordings import AudioFiles
    from speakerlab.data.samplers.random import RandomSampler
    from speakerlab.data.trial_drawing import draw_trials
    from speakerlab.training.datamodule import SpeakerDataModule

    steps: list[tuple[str, float, float, float, float]] = [("imports", 0.0, 0.0, Memory().rss, Memory().heap)]

    def step(name: str, function):
        began, cpu = time.perf_counter(), time.process_time()
        result = function()
        spent = time.perf_counter() - began, time.process_time() - cpu
        steps.append((name, *spent, Memory().rss, Memory().heap))
        return result

    table = step("open the manifest", lambda: read_manifest(folder / "manifest.parquet"))
    train, held_out = step("hold out 20 speakers", lambda: hold_out_speakers(table, HELD_OUT, SEED))
    trials = draw_trials(held_out, TRIALS, SEED)
    rows = {utterance: row for row, utterance in enumerate(held_out["utterance"].to_pylist())}
    development = [file_of(held_out, rows[utterance]) for utterance in trials.utterances]
    step("compare speakers' folders", lambda: check_disjoint(train, development))
    link(folder, development)
    data = step(
        "classes, dataset, sampler",
        lambda: SpeakerDataModule(
            Corpus(train, trials, development),
            AudioFiles(train, 16000),
            RandomSampler(batch_size=BATCH),
            Recipe(),
            2.0,
            16000,
            WORKERS,
            SEED,
        ),
    )
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    batches = data.batches()
    keys = step("order of an epoch", lambda: [keys for keys, _ in zip(batches, range(LOADED), strict=False)])
    link(folder, [file_of(train, row) for batch in keys for *_, row in batch])
    loader = DataLoader(
        data.dataset, batch_sampler=keys, collate_fn=collate, num_workers=WORKERS, multiprocessing_context=start
    )
    print(json.dumps({"steps": steps} | memory_of_loading(loader, step)))


def memory_of_loading(loader: Iterable, step: Callable) -> dict[str, dict[str, float]]:
    """Memory of this process, and of its workers on average, while they load; the first batch is a step of its own."""
    batches = iter(loader)
    step("start workers, first batch", lambda: next(batches))
    for _ in range(BATCHES - 1):
        next(batches)
    workers, parent = [Memory(worker.pid) for worker in batches._workers], vars(Memory())
    return {"parent": parent, "worker": {name: float(np.mean([vars(w)[name] for w in workers])) for name in parent}}


def link(folder: Path, files: list[Path]) -> None:
    """Put one recording under all these names."""
    source = folder / "noise.wav"
    if not source.is_file():
        noise = np.random.default_rng(SEED).integers(-9000, 9000, FILE_SAMPLES).astype(np.int16)
        soundfile.write(source, noise, 16000)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            os.link(source, file)


def fresh(folder: Path, start: str) -> dict:
    """`measure` in a process of its own, twice: the second time with what the disk has read in memory."""
    command = [sys.executable, __file__, "--measure", str(folder), "--start", start]
    for _ in range(2):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(rows: int, results: dict[tuple[int, str], dict], size: float) -> str:
    big = results[rows, "fork"]
    opening = np.sum([(wall, cpu) for _, wall, cpu, *_ in big["steps"][:5]], axis=0)
    lines = [
        f"# A manifest of {rows:,} rows, {date.today()}",
        "",
        f"`python benchmarks/large_manifest.py --rows {rows}`: {size / 1e9:.2f} GB of Arrow beside the Parquet file, "
        f"{rows // ROWS_PER_SPEAKER:,} speakers. Fresh process, file in the disk's memory.",
        "",
        "| step | seconds | CPU seconds | parent's RSS after it, MB | its heap, MB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {wall:.2f} | {cpu:.2f} | {rss:.0f} | {heap:.0f} |"
            for name, wall, cpu, rss, heap in big["steps"]
        ),
        "",
        f"From the file to a dataset that training can draw from (all rows but the last two): {opening[0]:.2f} s, "
        f"{opening[1]:.2f} s of CPU.",
        "",
        f"Memory with {WORKERS} data workers after {BATCHES} batches of {BATCH} crops, MB. RSS counts the pages of the "
        "mapped manifest, which all processes share and the kernel can drop; the heap is what a process has allocated; "
        "own pages are those that no other process has at the time (a forked worker shares its parent's heap).",
        "",
        "| rows | workers | parent RSS | parent heap | a worker's RSS | a worker's PSS | a worker's own |",
        "|---|---|---|---|---|---|---|",
    ]
    for (count, start), result in results.items():
        cells = [result["parent"][kind] for kind in ("rss", "heap")]
        cells += [result["worker"][kind] for kind in ("rss", "pss", "own")]
        how = {"fork": "forked", "spawn": "started anew"}[start]
        lines.append(f"| {count:,} | {how} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    from importlib.metadata import version

    libraries = ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "numpy", "torch"))
    load = os.getloadavg()[0]
    lines += targets(big, results[SMALL, "fork"], opening[0])
    lines += [
        "",
        f"Machine: {platform.platform()}, {os.cpu_count()} CPUs, load {load:.1f}. Python {platform.python_version()}, "
        f"{libraries}.",
    ]
    return "\n".join(lines) + "\n"


def targets(big: dict, small: dict, opening: float) -> list[str]:
    """What was asked for, each measure of it beside the number."""
    added = {kind: big["parent"][kind] - small["parent"][kind] for kind in ("rss", "heap")}
    imports = big["steps"][0][3]
    worker = big["worker"]["own"] - small["worker"]["own"]
    rows = [
        ("opens in 2 s: the manifest by itself", 2.0, big["steps"][1][1], "s"),
        ("opens in 2 s: up to a dataset to draw from", 2.0, opening, "s"),
        ("1.5 GB in the parent: what it has allocated, libraries included", 1500, big["parent"]["heap"], "MB"),
        ("1.5 GB in the parent: RSS without that of the imports", 1500, big["parent"]["rss"] - imports, "MB"),
        ("1.5 GB in the parent: RSS, libraries and mapped pages included", 1500, big["parent"]["rss"], "MB"),
        (f"nothing more in a forked worker: its own pages, above those with {SMALL:,} rows", 10, worker, "MB"),
    ]
    lines = ["", "| asked for, and how it is measured | limit | measured | |", "|---|---|---|---|"]
    for name, limit, value, unit in rows:
        shown = f"{value:.2f}" if unit == "s" else f"{value:.0f}"
        lines.append(f"| {name} | {limit:g} {unit} | {shown} {unit} | {'met' if value <= limit else 'not met'} |")
    return [*lines, "", f"The rows add {added['heap']:.0f} MB of heap and {added['rss']:.0f} MB of RSS to the parent."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.start)
        return
    results = {}
    with tempfile.TemporaryDirectory(prefix="large_manifest_") as folder:
        for rows in (SMALL, arguments.rows):
            place = Path(folder, str(rows))
            place.mkdir()
            make(place, rows)
            for start in ("fork", "spawn"):
                results[rows, start] = fresh(place, start)
                print(rows, start, results[rows, start], flush=True)
        size = (Path(folder, str(arguments.rows)) / "manifest.arrow").stat().st_size
    path = Path(__file__).with_name(f"large_manifest_{date.today()}.md")
    path.write_text(report(arguments.rows, results, size))
    print(path.read_text())


if __name__ == "__main__":
    main()
