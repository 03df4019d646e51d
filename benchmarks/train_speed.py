"""Training speed of the ordinary command: with everything on, in plain float32, with each switch off, and of a peer.

    python benchmarks/train_speed.py                                # hours; a killed one goes on with the same command
    python benchmarks/train_speed.py --models ecapa --rounds 1 --epochs 1 --batches 2 -- model.encoder.channels=64
    python benchmarks/train_speed.py --fresh                        # forget what was measured before

Each run is `python train.py`, reading, augmentation, logging and callbacks included; the figures are those of its
metrics/train_metrics.csv. The first epoch, in which it warms up and compiles, does not count; each further one is a
figure. The peer is SpeechBrain's ECAPA-TDNN with its own features, classifier and loss and Adam in float32, on random
waveforms that nobody had to read. All take turns, round after round, so that a machine that slows down slows them all.

Appends a line a run to train_speed.jsonl beside this file and writes train_speed_<date>.md from all of them.
"""

import argparse
import csv
import shutil
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import torch
from resumable import ROOT, alone, append_result, read_results, train
from training_input import arguments_of_input, machine_line, shown

from speakerlab.inference.model import pick_devices

RESULTS = Path(__file__).with_suffix(".jsonl")
RUNS = ROOT / "outputs" / "train_speed"
BATCH, SECONDS, RATE = 32, 2.0, 16000
MODELS = ("ecapa", "ecapa_c1024", "resnet34")
WIDTHS = {"ecapa": 512, "ecapa_c1024": 1024}  # of the peer's
SWITCHES = {
    "float32": "trainer.precision=32-true",
    "not compiled": "compile=false",
    "channels first": "channels_last=false",
    "optimizer not fused": "optimizer.fused=false",
    "memory given back": "keep_memory=false",
}
KEYS = ("model", "variant", "round", "settings")  # that tell runs apart
ALL_ON, PLAIN, PEER = "all on", "plain", "SpeechBrain, float32"
OF_2D = ("channels first",)  # no matter to other networks
VARIANTS = {
    ALL_ON: ["compile=true"],
    **{name: ["compile=true", off] if "compile" not in off else [off] for name, off in SWITCHES.items()},
    PLAIN: list(SWITCHES.values()),
}


def variants_of(model: str, chosen: list[str]) -> list[str]:
    """Those that make a difference to this model."""
    names = [name for name in VARIANTS if name not in OF_2D or model.startswith("resnet")]
    return [name for name in (*names, *((PEER,) if model in WIDTHS else ())) if name in chosen]


def command(model: str, variant: str, arguments: argparse.Namespace) -> list[str]:
    """The user's own."""
    return [
        "train.py",
        f"model={model}",
        *arguments_of_input(),
        *VARIANTS[variant],
        f"sampler.batch_size={BATCH}",
        "sampler.crops_per_utterance=100",
        f"loader.num_workers={arguments.workers}",
        f"+trainer.limit_train_batches={arguments.batches}",
        f"trainer.max_epochs={1 + arguments.epochs}",
        "callbacks.verification.every_n_epochs=0",
        f"output_dir={RUNS}",
        "name=run",
        *arguments.overrides,
    ]


def rates_of_run(model: str, variant: str, arguments: argparse.Namespace) -> dict:
    """Utterances a second of each epoch but the first, and the share of the time that waited for data."""
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    fault, _ = train(command(model, variant, arguments), RUNS / "log.txt")
    if fault:
        return {"fault": fault, "rates": [], "waited": []}
    (table,) = RUNS.glob("run/*/metrics/train_metrics.csv")
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    return {
        "fault": "",
        "rates": [float(row["utterances_per_second"]) for row in rows],
        "waited": [float(row["data_wait_share"]) for row in rows],
    }


def rates_of_peer(width: int, epochs: int, batches: int) -> list[float]:
    """Utterances a second of stretches of steps of SpeechBrain's ECAPA-TDNN; to be called in a process of its own."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier
    from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper
    from speechbrain.processing.features import InputNormalization

    torch.manual_seed(0)
    (device,) = pick_devices("auto", 1)
    features, norm = Fbank(n_mels=80).to(device), InputNormalization(norm_type="sentence", std_norm=False)
    # Channels as in its recipe for VoxCeleb, and in that for 512 the paper's.
    network = ECAPA_TDNN(80, channels=[*4 * [width], 3 * width], lin_neurons=192).to(device).train()
    classifier = Classifier(192, out_neurons=54).to(device)  # 18 speakers in three voices, as in the other runs
    loss = LogSoftmaxWrapper(AdditiveAngularMargin(margin=0.2, scale=30))
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], lr=1e-3)
    lengths = torch.ones(BATCH, device=device)
    rates = []
    for _ in range(1 + epochs):
        began = time.perf_counter()
        for _ in range(batches):
            waveform = 0.1 * torch.randn(BATCH, round(SECONDS * RATE), device=device)
            speakers = torch.randint(54, (BATCH, 1), device=device)
            embeddings = network(norm(features(waveform), lengths), lengths)
            optimizer.zero_grad()
            loss(classifier(embeddings), speakers).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(batches * BATCH / (time.perf_counter() - began))
    return rates[1:]


def measure(model: str, variant: str, number: int, arguments: argparse.Namespace) -> dict:
    """One run, as its line of the results."""
    if variant == PEER:
        rates = alone(rates_of_peer, WIDTHS[model], arguments.epochs, arguments.batches)
        found = {"fault": "", "rates": rates, "waited": []}
    else:
        found = rates_of_run(model, variant, arguments)
    return {"model": model, "variant": variant, "round": number, "settings": settings_of(arguments)} | found


def settings_of(arguments: argparse.Namespace) -> str:
    """What makes figures of two runs comparable."""
    stretches = f"{arguments.epochs} x {arguments.batches} batches, {arguments.workers} workers"
    return " ".join([stretches, *arguments.overrides])


def rows_of(results: list[dict], models: list[str]) -> list[str]:
    """A row of the table for each model and variant: median, lowest and highest, and the ratios of medians."""
    rows = []
    for model in models:
        of_model = [row for row in results if row["model"] == model]
        rates = {
            name: [rate for row in of_model if row["variant"] == name for rate in row["rates"]]
            for name in (*VARIANTS, PEER)
        }
        medians = {name: statistics.median(values) for name, values in rates.items() if values}
        for name, middle in medians.items():
            waited = [share for row in of_model if row["variant"] == name for share in row["waited"]]
            ratios = [f"{middle / medians[other]:.2f}" if other in medians else "" for other in (PLAIN, PEER, ALL_ON)]
            share = f"{100 * statistics.median(waited):.1f} %" if waited else ""
            spread = f"{middle:.1f} ({min(rates[name]):.1f} to {max(rates[name]):.1f})"
            rows.append(f"| {model} | {name} | {spread} | {len(rates[name])} | {' | '.join(ratios)} | {share} |")
        rows += [f"| {model} | {row['variant']} | {row['fault']} | 0 | | | | |" for row in of_model if row["fault"]]
    return rows


def report(results: list[dict], arguments: argparse.Namespace) -> str:
    """The Markdown file."""
    (device,) = pick_devices("auto", 1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    lines = [
        f"# Training speed, {date.today()}",
        "",
        f"`{shown(['python', *sys.argv])}`",
        "",
        f"Utterances of {SECONDS:g} s a second, in batches of {BATCH}, with noise, rooms and speed perturbation and "
        f"{arguments.workers} data worker(s): median (lowest to highest) of stretches of {arguments.batches} batches.",
        f"`{ALL_ON}` is the default with compile=true; `{PLAIN}` is float32, not compiled, channels first, without the "
        "fused optimizer and the allocator's settings; the others have one switch off. Ratios are of medians; what is "
        "waited is the share of the time that a step had no data.",
        "",
        "| model | variant | utterances/s | stretches | of plain | of the peer | of all on | waited |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *rows_of(results, arguments.models),
        "",
        f"`{shown(['python', *command(arguments.models[0], ALL_ON, arguments)])}`",
        "",
        machine_line(name),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, PEER], default=[*VARIANTS, PEER])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="stretches of a run")
    parser.add_argument("--batches", type=int, default=10, help="of a stretch")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / f"train_speed_{date.today()}.md")
    parser.add_argument("overrides", nargs="*", help="further key=value arguments of train.py, behind --")
    arguments = parser.parse_args()
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    settings = settings_of(arguments)
    for number in range(arguments.rounds):
        for model in arguments.models:
            for variant in variants_of(model, arguments.variants):
                if (model, variant, number, settings) not in read_results(RESULTS, KEYS):
                    row = measure(model, variant, number, arguments)
                    append_result(RESULTS, row)
                    print(row, flush=True)
    results = [row for row in read_results(RESULTS, KEYS).values() if row["settings"] == settings]
    arguments.output.write_text(report(results, arguments))
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
