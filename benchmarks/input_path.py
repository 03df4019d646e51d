"""The training input path: items a second from files of 8 s to augmented batches, against the simplest loop.

    python benchmarks/input_path.py
    python benchmarks/input_path.py --seconds 1 --folder /tmp/bench

Needs no data: the files are cut from the embedded corpus; noise and room responses are made. Takes some five minutes
and writes benchmarks/input_path_<date>.md.
"""

import argparse
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import hydra
import numpy as np
import scipy.signal
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from speakerlab.build import build_corpus
from speakerlab.config import CONF, check
from speakerlab.data.audio import read_audio
from speakerlab.data.corpora.mini import make_mini
from speakerlab.data.pcm import cache_pcm
from speakerlab.data.scan import scan_folder
from speakerlab.data.shards.heldout import split_heldout, write_heldout
from speakerlab.data.shards.packing import Packing, pack
from speakerlab.training.assembly import build_datamodule
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.hardware import prepare_cpu
from speakerlab.training.workers import prepare_worker

RATE, FILE, CROP, BATCH = 16000, 8 * 16000, 2 * 16000, 32
SPEAKERS, FILES = 20, 400
KINDS = {"wav": {}, "flac": {}, "opus": {"format": "OGG", "subtype": "OPUS"}}
DERIVED = ("pcm cache of flac", "shards of flac")  # with which the simple loop on FLAC is compared
WORKERS = (0, 1, 2)
REPEATS = 3


def make_files(folder: Path, cache: Path, kinds: dict[str, dict] = KINDS) -> None:
    """The same speech as 16-bit WAV, FLAC and Ogg/Opus, in SPEAKERS folders each; noise and responses beside them."""
    spoken = sorted((make_mini(cache) / "dev").rglob("*.flac"))
    speech = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in spoken])
    generator = np.random.default_rng(0)
    for number in range(FILES):
        start = int(generator.integers(len(speech) - FILE))
        for kind, options in kinds.items():
            path = folder / kind / f"s{number % SPEAKERS:02d}" / "a" / f"{number:03d}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech[start : start + FILE], RATE, **options)
    for number in range(20):
        decay = np.exp(-np.arange(RATE // 2) / (0.02 * (number + 2) * RATE))  # 0.3 to 2.9 s to fall by 60 dB
        for kind, samples in {
            "noise": 0.1 * generator.standard_normal(10 * RATE),
            "rir": 0.2 * decay * generator.standard_normal(RATE // 2),
        }.items():
            (folder / kind).mkdir(exist_ok=True)
            soundfile.write(folder / kind / f"{number}.wav", samples, RATE)


def make_shards(folder: Path) -> None:
    """The FLAC files in eight shards, as `speakerlab shard --heldout-speakers 2` packs them."""
    scan = scan_folder(folder / "flac", folder / "cache", min_seconds=0, stereo="mix", max_bad_share=0)
    train, held_out = split_heldout(scan.manifest, "2", seed=0)
    packing = Packing("flac", -(-len(train) // 8), 10**9, seed=0, max_bad_share=0, workers=1)
    pack(train, folder / "shards", packing)
    write_heldout(held_out, folder / "shards", "flac", trials=200, seed=0, workers=1)


class SimpleDataset(Dataset):
    """What one writes first: the file read whole and cut, SciPy's convolution and NumPy's noise, item by item."""

    def __init__(self, folder: Path, kind: str):
        self.files = sorted((folder / kind).rglob(f"*.{kind}"))
        self.noises, self.responses = (sorted((folder / name).glob("*.wav")) for name in ("noise", "rir"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        audio = cut(soundfile.read(self.files[index], dtype="float32")[0])
        response, _ = soundfile.read(random.choice(self.responses), dtype="float32")
        audio = scipy.signal.convolve(audio, response / np.sqrt(np.sum(response**2)))[:CROP]
        noise = cut(soundfile.read(random.choice(self.noises), dtype="float32")[0])
        gain = np.sqrt(np.mean(audio**2) / np.mean(noise**2) / 10 ** (random.uniform(0, 15) / 10))
        return torch.from_numpy((audio + gain * noise).astype(np.float32)), index % SPEAKERS


def cut(audio: np.ndarray) -> np.ndarray:
    start = random.randint(0, len(audio) - CROP)
    return audio[start : start + CROP]


def simple_batches(folder: Path, kind: str, workers: int) -> Iterable:
    loader = DataLoader(
        SimpleDataset(folder, kind), batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    while True:
        yield from loader


def speakerlab_data(folder: Path, kind: str, workers: int) -> SpeakerDataModule:
    """The data module of `train.py data=folder augment=noise` with a room and noise in every item, as in the loop."""
    packed = kind.startswith("shards")
    where = folder / ("shards" if packed else kind.split()[-1])
    given = [
        *(("data=shards",) if packed else ("data=folder", "data.heldout_speakers=2")),
        f"data.root={where}",
        "augment=noise",
        f"augment.noise_dir={folder / 'noise'}",
        f"augment.rir_dir={folder / 'rir'}",
        "augment.waveform.noise.probability=1.0",
        "augment.waveform.reverb.probability=1.0",
        "augment.waveform.reverb.seconds=0.5",
        "augment.spectrum.specaugment=null",
        f"sampler.batch_size={BATCH}",
        f"loader.num_workers={workers}",
        f"loader.cache={'pcm' if kind.startswith('pcm') else 'null'}",
        f"cache_dir={folder / 'cache'}",
        "name=benchmark",
    ]
    with hydra.initialize_config_dir(config_dir=str(CONF)):
        cfg = check(hydra.compose("train", given), "train", {})
    data = build_datamodule(cfg, build_corpus(cfg))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    return data


def speakerlab_batches(data: SpeakerDataModule, apply: bool) -> Iterable:
    """Batches as the training step gets them, and with `apply` as it makes them of that: on a GPU that costs no CPU."""
    loader = data.train_dataloader()
    epoch = 0
    while True:
        loader.batch_sampler.sampler.set_epoch(epoch)
        for batch in loader:
            yield data.augment.waveform.apply(batch["waveform"], batch["waveform_draws"]) if apply else batch
        epoch += 1


def items_a_second(batches: Iterable, workers: int, seconds: float) -> list[float]:
    """REPEATS measurements in a row, after the workers have started and filled what they prefetch.

    Without workers, of this process's CPU time, which other programs don't lengthen.
    """
    clock = time.perf_counter if workers else time.process_time
    batches = iter(batches)
    for _ in range(2 + 4 * workers):
        next(batches)
    rates = []
    for _ in range(REPEATS):
        count, started = 0, clock()
        while clock() - started < seconds or count < 2:
            next(batches)
            count += 1
        rates.append(count * BATCH / (clock() - started))
    del batches
    return rates


def reads_a_second(read: Callable[[int, int], object], seconds: float) -> list[float]:
    """Of CPU time, by `read(file, first sample)`; every file about as often, at random places."""
    firsts = np.random.default_rng(0).integers(0, FILE - CROP + 1, 10007).tolist()
    for number in range(FILES):
        read(number, 0)  # into the page cache
    rates = []
    for _ in range(REPEATS):
        count, started = 0, time.process_time()
        while time.process_time() - started < seconds:
            read(count % FILES, firsts[count % len(firsts)])
            count += 1
        rates.append(count / (time.process_time() - started))
    return rates


def single_reads(folder: Path, seconds: float) -> list[tuple[str, list[float]]]:
    rows = []
    for kind in KINDS:
        files = [str(path) for path in sorted((folder / kind).rglob(f"*.{kind}"))]

        def seek(number: int, first: int, files: list[str] = files) -> np.ndarray:
            with soundfile.SoundFile(files[number]) as file:
                file.seek(first)
                return file.read(CROP, dtype="float32")

        def raw(number: int, first: int, files: list[str] = files) -> bytes:
            file = os.open(files[number], os.O_RDONLY)
            try:
                return os.pread(file, 2 * CROP, 44 + 2 * first)
            finally:
                os.close(file)

        full = lambda number, first, files=files: soundfile.read(files[number], dtype="float32")
        ours = lambda number, first, files=files: read_audio(files[number], first, CROP)
        rows.append((f"{kind}: whole file, soundfile", reads_a_second(full, seconds)))
        rows.append((f"{kind}: crop, soundfile seek and read", reads_a_second(seek, seconds)))
        rows.append((f"{kind}: crop, `read_audio`", reads_a_second(ours, seconds)))
        if kind == "wav":
            rows.append(("wav: crop, bare pread, no floats", reads_a_second(raw, seconds)))
    scan = scan_folder(folder / "flac", folder / "cache", min_seconds=0, stereo="mix", max_bad_share=0)
    cached = cache_pcm(scan.manifest, RATE, folder / "cache", 0.0)
    rows.append(("`loader.cache=pcm`: crop", reads_a_second(lambda row, first: cached.read(row, first, CROP), seconds)))
    return rows


def input_paths(folder: Path, seconds: float) -> list[tuple]:
    """(kind, workers, simple loop, with the device's part, without) in items a second; None for what is not there."""
    rows = []
    for kind in (*KINDS, *DERIVED):
        for workers in WORKERS:
            simple = None
            if kind in KINDS:
                simple = items_a_second(simple_batches(folder, kind, workers), workers, seconds)
            data = speakerlab_data(folder, kind, workers)
            whole, loader = (
                items_a_second(speakerlab_batches(data, apply), workers, seconds) for apply in (True, False)
            )
            rows.append((kind, workers, simple, whole, loader))
            print(kind, workers, *(f"{np.median(rates):,.0f}" if rates else "-" for rates in rows[-1][2:]), flush=True)
    return rows


class Products(Dataset):
    """An item that multiplies matrices with NumPy, as an augmentation of one's own may do."""

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> np.ndarray:
        matrix = np.random.default_rng(index).random((400, 400))
        return (matrix @ matrix)[0]


def worker_threads(seconds: float) -> list[tuple[str, list[float]]]:
    """Two workers with as many BLAS threads as NumPy takes by itself, and with the data module's one."""
    return [
        (name, items_a_second(DataLoader(Products(), BATCH, num_workers=2, worker_init_fn=init), 2, seconds))
        for name, init in (("as NumPy starts them", None), ("one, as in the data module", prepare_worker))
    ]


def cell(rates: list[float] | None) -> str:
    """Median, lowest and highest."""
    if rates is None:
        return ""
    return f"{np.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def report(reads: list[tuple], paths: list[tuple], threads: list[tuple], load: str) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "soundfile", "soxr"))
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].split(":")[1].strip() if names else "an unknown make"
    lines = [
        f"# The training input path, {date.today()}",
        "",
        f"`python {shlex.join(sys.argv)}` on {os.cpu_count()} cores of {cpu}; {libraries}; {load}.",
        "",
        f"{FILES} files of 8 s at 16 kHz, 16 bits, all in the page cache. Median of {REPEATS} stretches of the same",
        "run, lowest and highest in brackets. What runs in one process is measured by its CPU time; what has workers,",
        "by the clock, which other programs on the machine slow down.",
        "",
        "## Reads a second of 2 s, one thread",
        "",
        "| | reads/s |",
        "|---|---:|",
        *(f"| {name} | {cell(rates)} |" for name, rates in reads),
        "",
        "## Items a second",
        "",
        "A 2 s crop, a room response of 0.5 s and noise at 0 to 15 dB in every item, batches of 32. The simple loop",
        "reads whole files, convolves with `scipy.signal.convolve` and adds noise with NumPy, item by item in the",
        "worker. speakerlab reads crops in the worker and convolves and adds on the batch. On a GPU that costs no CPU:",
        "the last column is without that part, the one before it does it in the main process on one thread.",
        "",
        "| files | workers | simple loop | speakerlab, all on the CPU | times | speakerlab, what feeds a GPU | times |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    by_key = {(kind, workers): simple for kind, workers, simple, _, _ in paths}
    for kind, workers, simple, whole, loader in paths:
        reference = np.median(simple or by_key["flac", workers])
        times = [f"{np.median(rates) / reference:.1f}" for rates in (whole, loader)]
        cells = [kind, workers, cell(simple), cell(whole), times[0], cell(loader), times[1]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "`pcm cache` and `shards` are compared with the simple loop on FLAC.",
        "",
        "## Threads in two workers",
        "",
    ]
    lines += ["Items a second where an item is the product of two matrices of 400 x 400.", ""]
    lines += ["| BLAS threads a worker | items/s |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {cell(rates)} |" for name, rates in threads), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a stretch")
    parser.add_argument("--folder", type=Path, help="keeps the files made; a temporary folder by default")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / f"input_path_{date.today()}.md")
    arguments = parser.parse_args()
    prepare_cpu(1)  # as train.py does: freed memory is kept
    cache = Path(os.environ.get("SPEAKERLAB_CACHE", Path.home() / ".cache" / "speakerlab"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        if not (folder / "rir").is_dir():
            make_files(folder, cache)
            make_shards(folder)
        load = f"load average {os.getloadavg()[0]:.1f} before the start, by other programs"
        measured = [part(folder, arguments.seconds) for part in (single_reads, input_paths)]
        text = report(*measured, worker_threads(arguments.seconds), load)
        arguments.output.write_text(text, encoding="utf-8")
    print(arguments.output)


if __name__ == "__main__":
    main()
