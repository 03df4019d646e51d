"""Does an epoch see each utterance exactly once, with two processes and after a kill? Recorded by the processes.

    python benchmarks/exactly_once.py
    python benchmarks/exactly_once.py shards

Trains a tiny ECAPA-TDNN for three epochs on a part of the embedded corpus, whose speakers have 2 to 12 utterances
each, with the ordinary command and a callback that notes which utterances every batch held. For each sampler, and for
shards: two processes (gloo); one process that is killed (SIGKILL) in its second epoch, at a random moment, and resumed;
two that are. Writes benchmarks/exactly_once_<date>.md, or, if only some are asked for, prints it.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytorch_lightning as pl

from speakerlab.data.corpora.mini import make_mini
from speakerlab.data.scan import scan_folder
from speakerlab.data.shards.packing import Packing, pack
from speakerlab.record import environment

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 3
HANGS = 600.0  # seconds after which a run is given up
FOLDER = ["data=folder", "data.root=DATA/train"]
SHARDS = ["data=shards", "data.root=DATA/shards", "data.shuffle_buffer=50"]
CASES = {
    "random": [*FOLDER, "sampler=random", "sampler.batch_size=16"],
    "speaker_balanced": [*FOLDER, "sampler=speaker_balanced", "sampler.batch_size=16"],
    "length_bucketed": [*FOLDER, "sampler=length_bucketed", "sampler.max_seconds=50"],
    "shards": [*SHARDS, "sampler.batch_size=16", "loader.num_workers=2"],  # which cut shards in pieces, as processes do
}
PACKING = Packing("flac", shard_items=40, shard_bytes=1, seed=1, max_bad_share=0.0, workers=1)
TINY = [
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "features.num_mels=8",
    "pooling.bottleneck=8",
    "model.encoder.se_bottleneck=8",
    "threads=1",
    "trainer.precision=32-true",
]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]


class Recorder(pl.Callback):
    """Appends to `<run>/seen_<rank>.jsonl` where the training starts, and what each batch held that was trained on."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.path = Path(trainer.default_root_dir) / f"seen_{trainer.global_rank}.jsonl"
        self.write(start=trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, batch_idx) -> None:
        names = ("utterance", "speaker")
        self.write(
            epoch=trainer.current_epoch, step=trainer.global_step, **{name: batch[name].tolist() for name in names}
        )

    def write(self, **values) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(values) + "\n")


def trained_on(path: Path) -> tuple[list[dict], int]:
    """The batches that the weights at the end have seen, in order, and how many were lost with a killed process.

    A resumed run starts at its checkpoint's step: what came after that in the killed one is lost, and done again.
    """
    batches: list[dict] = []
    lost = 0
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if "start" in record:
            kept = [batch for batch in batches if batch["step"] <= record["start"]]
            lost += len(batches) - len(kept)
            batches = kept
        else:
            batches.append(record)
    return batches, lost


def write_corpus(root: Path) -> None:
    """Training and development speakers of the embedded corpus; training speaker i keeps 2 + i mod 11 utterances.
    The training speakers lie there as files and as shards."""
    mini = make_mini(Path(os.environ.get("SPEAKERLAB_CACHE", "~/.cache/speakerlab")).expanduser())
    for number, speaker in enumerate(sorted((mini / "dev").iterdir())):
        for file in sorted(speaker.rglob("*.flac"))[: 2 + number % 11]:
            target = root / "train" / file.relative_to(mini / "dev")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    shutil.copytree(mini / "test", root / "development" / "test")
    shutil.copyfile(mini / "trials.txt", root / "trials.txt")
    scan = scan_folder(root / "train", root / "cache", min_seconds=0, stereo="mix", max_bad_share=0.0)
    pack(scan.manifest, root / "shards", PACKING)


def command(case: str, processes: int) -> list[str]:
    """The user's own, but for a tiny network and the recorder."""
    return [
        "train.py",
        *CASES.get(case, [case]),
        "data.trials=DATA/trials.txt",
        "data.trials_root=DATA/development",
        f"name={case.lower()}_{processes}",
        *TINY,
        *(TWO if processes == 2 else ["trainer=cpu"]),
        f"trainer.max_epochs={EPOCHS}",
        "callbacks.verification.every_n_epochs=0",
        "callbacks.checkpoints.every_minutes=0.01",
        "+callbacks.recorder={_target_: exactly_once.Recorder}",
        "trust=[exactly_once.Recorder]",
    ]


def run(arguments: list[str], data: Path, cwd: Path, kill: bool = False) -> None:
    """Train in `cwd`; with `kill`, SIGKILL to all its processes at a random moment soon after epoch 2 began."""
    cwd.mkdir(parents=True, exist_ok=True)
    places = [sys.executable, str(ROOT / arguments[0]), *(word.replace("DATA", str(data)) for word in arguments[1:])]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    with open(cwd / "log", "a") as log:
        process = subprocess.Popen(
            places, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        give_up = time.monotonic() + HANGS
        while process.poll() is None:
            second = kill and any('"epoch": 1' in path.read_text() for path in cwd.rglob("seen_0.jsonl"))
            if second or time.monotonic() > give_up:
                time.sleep(random.random() / 4)
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)
        status = process.wait()
    if status != (-signal.SIGKILL if kill else 0):
        raise SystemExit(f"{shlex.join(places)}\nended with status {status}:\n{(cwd / 'log').read_text()[-2000:]}")


def measure(case: str, processes: int, killed: bool, data: Path, cwd: Path) -> dict:
    """Train as asked; what was seen."""
    arguments = command(case, processes)
    if killed:
        run(arguments, data, cwd, kill=True)
        arguments = [*arguments, "ckpt=last"]
    run(arguments, data, cwd)
    (folder,) = cwd.glob("outputs/*/*/")
    found = [trained_on(folder / f"seen_{rank}.jsonl") for rank in range(processes)]
    return {"ranks": [batches for batches, _ in found], "lost": [lost for _, lost in found]}


def counts(ranks: list[list[dict]], epoch: int, name: str) -> Counter:
    """How often each utterance or speaker was trained on in an epoch, by all ranks."""
    return Counter(value for batches in ranks for batch in batches if batch["epoch"] == epoch for value in batch[name])


def verdict(case: str, ranks: list[list[dict]], utterances: int) -> Iterator[str]:
    """What is wrong, a line each."""
    if len({len(batches) for batches in ranks}) > 1:
        yield f"ranks trained on {[len(batches) for batches in ranks]} batches"
    speakers = {u: s for batches in ranks for b in batches for u, s in zip(b["utterance"], b["speaker"], strict=True)}
    total: Counter = Counter()
    for epoch in range(EPOCHS):
        seen = counts(ranks, epoch, "utterance")
        total.update(seen)
        if case == "speaker_balanced":
            visits = set(counts(ranks, epoch, "speaker").values())
            if len(visits) > 1:
                yield f"epoch {epoch + 1}: speakers come {visits} times"
            for speaker in set(speakers.values()):
                times = [total[u] for u in range(utterances) if speakers.get(u) == speaker]
                if max(times) - min(times) > 1:
                    yield f"epoch {epoch + 1}: utterances of speaker {speaker} have come {times} times"
        elif seen != Counter(range(utterances)):
            yield f"epoch {epoch + 1}: {utterances - len(seen)} utterances never seen, {seen.most_common(1)} times one"


def markdown(rows: list[str], corpus: str) -> str:
    facts = environment()
    libraries = ", ".join(f"{name} {facts['libraries'][name]}" for name in ("torch", "pytorch-lightning", "numpy"))
    git = facts["git"] or {"commit": "unknown", "changed": False}
    lines = [
        f"# What training processes saw of each epoch, {date.today()}",
        "",
        f"{corpus} {EPOCHS} epochs.",
        "Recorded by a callback in every process once a batch was trained on. After a kill, what the killed processes",
        "did after the checkpoint that was resumed from is lost with their weights, and done again: it counts once.",
        "",
        "`random`, `length_bucketed` and `shards` must see each utterance of an epoch exactly once. `speaker_balanced`",
        "must see every speaker equally often in each epoch, and at no epoch's end may one utterance of a speaker have",
        "come two times more often than another.",
        "",
        "| | processes | killed | batches an epoch | batches lost by the kill, by rank | utterances an epoch "
        "| as promised |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Each run (killed: started, SIGKILL to all its processes in the second epoch, started again with `ckpt=last`):",
        "",
        f"`PYTHONPATH=benchmarks python {shlex.join(command('CASE', 2))}`",
        "",
        "where CASE is",
        "",
        *(f"- {name}: `{' '.join(settings)}`" for name, settings in CASES.items()),
        "",
        f"Shards of {PACKING.shard_items} utterances.",
        "",
        f"Machine: {facts['platform']}, {facts['cpus']} CPUs. Commit {git['commit']}"
        f"{', changed' if git['changed'] else ''}. {libraries}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(CASES)}; default: all")
    cases = parser.parse_args().cases or list(CASES)
    if not set(cases) <= set(CASES):
        parser.error(f"{', '.join(sorted(set(cases) - set(CASES)))}: give some of {', '.join(CASES)}")
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_corpus(data)
        utterances = len(list((data / "train").rglob("*.flac")))
        speakers = len(list((data / "train").iterdir()))
        for case in cases:
            for processes, killed in ((2, False), (1, True), (2, True)):
                seen = measure(case, processes, killed, data, Path(folder) / f"{case}_{processes}_{killed}")
                wrong = list(verdict(case, seen["ranks"], utterances))
                batches = len(seen["ranks"][0]) / EPOCHS
                sizes = {sum(counts(seen["ranks"], epoch, "utterance").values()) for epoch in range(EPOCHS)}
                rows.append(
                    f"| {case} | {processes} | {'yes' if killed else 'no'} | {batches:g} "
                    f"| {' and '.join(map(str, seen['lost']))} | {' or '.join(map(str, sizes))} "
                    f"| {'no: ' + '; '.join(wrong) if wrong else 'yes'} |"
                )
                failed |= bool(wrong)
                print(rows[-1], flush=True)
    corpus = f"{utterances} utterances of {speakers} speakers of the embedded corpus, who have 2 to 12 each;"
    report = markdown(rows, corpus)
    print(report)
    if cases == list(CASES):
        (Path(__file__).parent / f"exactly_once_{date.today()}.md").write_text(report)
    sys.exit(failed)


if __name__ == "__main__":
    main()
