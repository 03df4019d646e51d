"""Does every model train? Each member of conf/model for at most a minute, on the embedded corpus.

    python benchmarks/every_model.py                          # a killed one goes on with the same command
    python benchmarks/every_model.py --models ecapa lstm --seconds 30
    python benchmarks/every_model.py --fresh                  # forget what was measured before

Trains with the ordinary command: two epochs where they fit into the time, with two crops an utterance where even these
fit; larger models get fewer batches, by how long a step of theirs takes. The EER before training is that of the run's
own initial weights.
Appends a line a model to every_model.jsonl beside this file as soon as the model is done, and writes
every_model_<date>.md from all of them.
"""

import argparse
import json
import math
import os
import shlex
import shutil
import textwrap
import time
from datetime import date
from pathlib import Path

import torch
from resumable import ROOT, alone, append_result, read_results, train, untrained_metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.cli.models import chosen_models, processor
from speakerlab.data.corpora.mini import make_mini
from speakerlab.inference.cost import sizes
from speakerlab.inference.model import pick_devices
from speakerlab.record import environment
from speakerlab.reports.curves import read_metrics
from speakerlab.training.hardware import prepare_cpu, resolve_precision

RESULTS = Path(__file__).with_suffix(".jsonl")
RUNS = ROOT / "outputs" / "every_model"
UTTERANCES = 960  # of the embedded corpus, to train on
A_SESSION = 2  # development utterances of each session: embedding all would take the large models longer than training
FULL_BATCH, BATCH, SMALLEST_BATCH, FEWEST_STEPS = 32, 16, 4, 40  # small where there would be few steps otherwise
TRIED_BATCH = 16  # in the measurement that the plan is made from
SHARE = 0.8  # of the time that is planned; the rest is for what a step in a loop takes longer
FELL = 0.95  # of the loss of guessing, and of the EER before training; below, it has fallen
GUESSING = math.log(80)  # the loss of one who names each of the speakers with the same probability
# For a minute of training. A warm-up of a whole epoch would be half of it or all; a margin that grows would raise the
# loss; and with a scale of 32, which is for thousands of speakers, ECAPA's EER after two epochs was 24 % and not 10 %.
COMMON = [
    "loader.crop_seconds=0.75",
    "loss.scale=10.0",
    "loss.margin=0.0",
    "margin=fixed",
    "scheduler.warmup_epochs=0.2",
]


def trial_list() -> tuple[Path, Path]:
    """The embedded corpus's root, and a list of its trials among the first utterances of each session."""
    root = make_mini(Path(os.environ.get("SPEAKERLAB_CACHE", "~/.cache/speakerlab")).expanduser())
    path = RUNS / "trials.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (root / "trials.txt").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if all(int(Path(w).stem) <= A_SESSION for w in line.split()[1:])))
    return root, path


def seconds_an_utterance(model: str) -> float:
    """Of a training step, once warm, with a small batch; to be called in a process of its own."""
    prepare_cpu(None)
    cfg, _ = compose("train", [f"model={model}", *COMMON])
    (device,) = pick_devices("auto", 1)
    kind = resolve_precision("auto", "auto").partition("-")[0]
    network = build_network(cfg).train().to(device)
    waveform = 0.1 * torch.randn(TRIED_BATCH, round(cfg.loader.crop_seconds * cfg.loader.sample_rate), device=device)
    for _ in range(3):
        began = time.perf_counter()
        dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(kind, torch.float32)
        with torch.autocast(device.type, dtype, enabled=kind != "32"):
            embeddings = network(waveform)
        embeddings.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / TRIED_BATCH


def plan(seconds: float, an_utterance: float) -> dict[str, int | None]:
    """Epochs, crops an utterance, batch size and batches an epoch (None is all) that fit into the time."""
    fit = int(SHARE * seconds / an_utterance)
    if fit >= 4 * UTTERANCES:
        return {"epochs": 2, "crops": 2, "batch": FULL_BATCH, "batches": None}
    if fit > UTTERANCES:
        batches = None if fit >= 2 * UTTERANCES else fit // 2 // BATCH
        return {"epochs": 2, "crops": 1, "batch": BATCH, "batches": batches}
    batch = min(BATCH, max(SMALLEST_BATCH, fit // FEWEST_STEPS))
    return {"epochs": 1, "crops": 1, "batch": batch, "batches": max(1, min(fit, UTTERANCES) // batch)}


def batches_of(planned: dict) -> int:
    """An epoch's."""
    return planned["batches"] or UTTERANCES * planned["crops"] // planned["batch"]


def command(model: str, seconds: float, planned: dict, data: tuple[Path, Path]) -> list[str]:
    """The user's own."""
    steps = planned["epochs"] * batches_of(planned)
    root, trials = data
    limit = [f"+trainer.limit_train_batches={planned['batches']}"] if planned["batches"] else []
    return [
        "train.py",
        f"model={model}",
        "data=folder",
        f"data.root={root / 'dev'}",
        f"data.trials={trials}",
        f"data.trials_root={root}",
        *COMMON,
        f"sampler.batch_size={planned['batch']}",
        f"sampler.crops_per_utterance={planned['crops']}",
        f"trainer.max_epochs={planned['epochs']}",
        *limit,
        f"+trainer.max_time={{seconds: {seconds:g}}}",
        f"trainer.log_every_n_steps={max(1, steps // 10)}",
        "callbacks.verification.every_n_epochs=0",
        f"name={model}",
        f"output_dir={RUNS}",
    ]


def measured(model: str, seconds: float, data: tuple[Path, Path]) -> dict:
    """Train one model; what is known afterwards."""
    planned = plan(seconds, alone(seconds_an_utterance, model))
    shutil.rmtree(RUNS / model, ignore_errors=True)  # what a killed benchmark left
    arguments = command(model, seconds, planned, data)
    fault, peak = train(arguments, RUNS / "log.txt")
    words = shlex.join(["python", *arguments]).replace(str(data[0]), "MINI").replace(f"{ROOT}/", "")
    row = {"model": model, "seconds": seconds, **planned, "command": words}
    row["parameters"] = sizes(compose("train", [f"model={model}"])[0])[0]
    if fault:
        return row | {"failed": fault}
    (run,) = (RUNS / model).glob("*/")
    epochs = read_metrics(run / "metrics" / "train_metrics.csv")
    events = EventAccumulator(str(next(run.rglob("events.out.tfevents.*")).parent)).Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    facts = json.loads((run / "environment.json").read_text())
    row |= {
        "utterances": int(epochs["step"][-1]) * planned["batch"],
        "utterances_per_second": float(epochs["utterances_per_second"][-1]),
        "loss": [losses[0], losses[-1]],
        "eer_before": alone(untrained_metrics, run)["eer"],
        "eer_after": float(read_metrics(run / "metrics" / "val_metrics.csv")["eer"][-1]),
        "peak_mb": peak,
        "device": f"{facts['device']}, {facts['precision']}",
        "commit": (facts["git"] or {"commit": "unknown"})["commit"][:10],
    }
    shutil.rmtree(run / "checkpoints")  # up to a gigabyte
    return row


def learned(row: dict) -> str:
    """What fell: the loss below that of guessing, the EER, both or none."""
    fallen = {"loss": row["loss"][1] < FELL * GUESSING, "EER": row["eer_after"] < FELL * row["eer_before"]}
    names = [name for name, fell in fallen.items() if fell]
    return " and ".join(names) or "**neither**"


def table_row(row: dict) -> str:
    if "failed" in row:
        return f"| {row['model']} | {row['parameters'] / 1e6:.1f} | {row['failed']} |  |  |  |  |  |  |  |"
    part = f"{row['epochs']} x {batches_of(row)} x {row['batch']}"
    seconds = row["utterances"] / row["utterances_per_second"]
    first, last = row["loss"]
    cells = (
        row["model"],
        f"{row['parameters'] / 1e6:.1f}",
        part,
        f"{seconds:.0f}",
        f"{row['utterances_per_second']:.1f}",
        f"{first:.2f} to {last:.2f}",
        f"{100 * row['eer_before']:.1f}",
        f"{100 * row['eer_after']:.1f}",
        learned(row),
        f"{row['peak_mb']:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def markdown(rows: list[dict]) -> str:
    facts = environment()
    libraries = ", ".join(f"{name} {facts['libraries'][name]}" for name in ("torch", "pytorch-lightning", "numpy"))
    done = [row for row in rows if "failed" not in row]
    fell = {what: sum(what in learned(row) for row in done) for what in ("loss", "EER")}
    names = ", ".join(row["model"] for row in rows if "failed" in row)
    commits = ", ".join(sorted({row["commit"] for row in done}))
    devices = "; ".join(sorted({row["device"] for row in done}))
    text = (
        f"The embedded corpus, 80 speakers and {UTTERANCES} utterances, crops of 0.75 s, AAM-softmax without margin, "
        f"scale 10. EER on the corpus's trials among the first {A_SESSION} utterances of each session of 24 other "
        "speakers; before training: of the same initial weights. Fell: the loss to below "
        f"{FELL * GUESSING:.2f}, {FELL:g} of that of guessing ({GUESSING:.2f}); the EER to below {FELL:g} of what it "
        "was. A minute shows that a model trains, not how good it is: the large ones saw a fraction of the corpus. The "
        "loss is the mean of the first and of the last tenth of the steps; memory is the training process's peak of "
        "resident memory, of which a good half GB are the libraries'."
    )
    lines = [
        f"# Every model, trained for at most {max(row['seconds'] for row in rows):g} s, {date.today()}",
        "",
        "`python benchmarks/every_model.py`",
        "",
        f"{len(done)} of {len(rows)} models trained{f' (not: {names})' if names else ''}. The loss of {fell['loss']} "
        f"fell, the EER of {fell['EER']}.",
        "",
        textwrap.fill(text, 118),
        "",
        "| model | M parameters | epochs x batches x size | s of training | utterances/s | loss | EER % before | after "
        "| fell | peak MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(table_row, rows),
        "",
        "Each by such a command, with MINI for the embedded corpus:",
        "",
        f"`{rows[0]['command']}`",
        "",
        f"{devices}. Machine: {processor()}, {facts['platform']}, {facts['cpus']} CPUs. Commit {commits}. {libraries}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[], metavar="MODEL", help="default: every member of conf/model")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, for each (default: 60)")
    parser.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    arguments = parser.parse_args()
    models = chosen_models(arguments.models)
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    rows = {model: row for (model,), row in read_results(RESULTS, ("model",)).items()}
    data = trial_list()
    for number, model in enumerate(models, start=1):
        if model in rows and "failed" not in rows[model]:
            print(f"{number}/{len(models)} {model}: is in {RESULTS.name}", flush=True)
            continue
        print(f"{number}/{len(models)} {model} ...", flush=True)
        rows[model] = measured(model, arguments.seconds, data)
        append_result(RESULTS, rows[model])
        print(table_row(rows[model]), flush=True)
    path = RESULTS.with_name(f"every_model_{date.today()}.md")
    path.write_text(markdown([rows[model] for model in sorted(rows)]))
    print(path)


if __name__ == "__main__":
    main()
