"""Files embedded a second by speakerlab and by SpeechBrain with the same ECAPA-TDNN, and how soon a command answers.

    python benchmarks/embedding_speed.py --speech DIR
    python benchmarks/embedding_speed.py --speech DIR --files 6 --repeats 1

Needs the extras `export` and `references`, and a machine that does nothing else. The network is SpeechBrain's
ECAPA-TDNN with 1024 channels and random weights, which `speakerlab import` reads, features included, and `speakerlab
export` writes as ONNX: all embed the same, and by how much they differ is measured as well. Files are those of DIR/dev.
All ways take their turn in each round. Commands are printed as they run; some fifteen minutes on two cores at the
default settings. Writes benchmarks/embedding_speed_<date>.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import soundfile
import torch
from commands import ANOTHER, SAME, ask, machine
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.classifiers import EncoderClassifier

from speakerlab.data.tree import list_audio
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.export.drift import largest_difference

BATCH, WORKERS = 16, 2
FLOAT32, BF16 = "float32", "bf16"
REFERENCE = ("SpeechBrain, one by one", FLOAT32)
WARM_UP = 4  # files
PACKAGES = ("torch", "onnxruntime", "speechbrain", "numpy", "soundfile")
Way = tuple[str, str]  # a name and a precision
Embed = Callable[[list[str]], np.ndarray]  # files -> (files, embed_dim)
# A pretrained model's file, as SpeechBrain's recipe for VoxCeleb writes it; names of the speakers are not needed here.
HYPERPARAMS = """
n_mels: 80
out_n_neurons: 7
pretrained_path: {folder}
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [1024, 1024, 1024, 1024, 3072]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 128
    lin_neurons: 192
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 192
    out_neurons: !ref <out_n_neurons>
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
"""


def make_peer(folder: Path) -> EncoderClassifier:
    """A pretrained model's folder of SpeechBrain with random weights, loaded as its users do it."""
    folder.mkdir()
    text = HYPERPARAMS.format(folder=folder)
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    network = load_hyperpyyaml(text)["embedding_model"].train()
    with torch.no_grad():  # batch norms that fit what comes, or else it would grow from layer to layer
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = None
        network(10 * torch.randn(8, 100, 80))
    torch.save(network.state_dict(), folder / "embedding_model.ckpt")
    return EncoderClassifier.from_hparams(source=str(folder), savedir=str(folder / "used"))


def by_speechbrain(peer: EncoderClassifier, batch: int, precision: str) -> Embed:
    """One file after the other, or padded batches of similar length, which spares it the work on padding."""

    def embed(files: list[str]) -> np.ndarray:
        rows = {}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == BF16):
            waves = {file: peer.load_audio(file) for file in files} if batch > 1 else {}
            order = sorted(files, key=lambda file: -len(waves[file])) if batch > 1 else files
            for first in range(0, len(order), batch):
                some = order[first : first + batch]
                if batch == 1:
                    found = peer.encode_batch(peer.load_audio(some[0]))
                else:
                    lengths = torch.tensor([len(waves[file]) for file in some])
                    padded = torch.nn.utils.rnn.pad_sequence([waves[file] for file in some], batch_first=True)
                    found = peer.encode_batch(padded, lengths / lengths.max())
                rows |= zip(some, found[:, 0].float().numpy(), strict=True)
        return np.stack([rows[file] for file in files])

    return embed


def by_many(recognizer: SpeakerRecognizer, workers: int) -> Embed:
    """The API's way with many files."""

    def embed(files: list[str]) -> np.ndarray:
        found = recognizer.embed_many(files, BATCH, workers)
        if found.faults:
            raise SystemExit(f"not embedded: {found.faults}")
        return found.rows

    return embed


def ways(peer: EncoderClassifier, checkpoint: Path, onnx: Path, int8: Path) -> dict[Way, Embed]:
    """What is compared."""
    exact = SpeakerRecognizer.load(checkpoint, "cpu")
    rounded = SpeakerRecognizer.load(checkpoint, "cpu", precision=BF16)
    found: dict[Way, Embed] = {REFERENCE: by_speechbrain(peer, 1, FLOAT32)}
    found[f"SpeechBrain, batches of {BATCH}", FLOAT32] = by_speechbrain(peer, BATCH, FLOAT32)
    found["SpeechBrain, one by one", BF16] = by_speechbrain(peer, 1, BF16)
    found[f"SpeechBrain, batches of {BATCH}", BF16] = by_speechbrain(peer, BATCH, BF16)
    found["`embed`, one by one", FLOAT32] = lambda files: np.stack([exact.embed(file) for file in files])
    for recognizer, precision in ((exact, FLOAT32), (rounded, BF16)):
        for workers in (0, WORKERS):
            found[f"`embed_many`, {workers} workers", precision] = by_many(recognizer, workers)
    found["`embed_many`, ONNX, 0 workers", FLOAT32] = by_many(SpeakerRecognizer.load(onnx, "cpu"), 0)
    found["`embed_many`, ONNX, 0 workers", "int8"] = by_many(SpeakerRecognizer.load(int8, "cpu"), 0)
    return found


def measure(compared: dict[Way, Embed], files: list[str], repeats: int) -> tuple[dict[Way, list[float]], dict]:
    """Seconds of each round for each way, and by how much its embeddings differ from SpeechBrain's."""
    for embed in compared.values():
        embed(files[:WARM_UP])
    seconds: dict[Way, list[float]] = {way: [] for way in compared}
    rows: dict[Way, np.ndarray] = {}
    for number in range(repeats):
        order = list(compared)
        start = number * len(order) // repeats  # so that none always follows the same other one
        for way in order[start:] + order[:start]:
            began = time.perf_counter()
            rows[way] = compared[way](files)
            seconds[way].append(time.perf_counter() - began)
            print(f"round {number + 1}, {', '.join(way)}: {len(files) / seconds[way][-1]:.2f} files/s", flush=True)
    return seconds, {way: largest_difference(found, rows[REFERENCE]) for way, found in rows.items()}


def measure_starts(models: dict[str, Path], files: list[str], repeats: int) -> dict[str, list[float]]:
    """Seconds of fresh processes; the first of each is not counted, since it reads from the disk."""
    commands: dict[str, list[object]] = {"`speakerlab --help`": ["--help"]}
    for name, model in models.items():
        commands[f"`speakerlab verify`, {name}"] = ["verify", *files[:2], "--threshold", "0", "--model", model]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            ask(*command, statuses=(SAME, ANOTHER))
            seconds[name].append(time.perf_counter() - began)
    return {name: found[1:] for name, found in seconds.items()}


def spread(values: list[float], digits: int) -> str:
    """Median, lowest and highest."""
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def speed_rows(seconds: dict[Way, list[float]], apart: dict[Way, float], files: int, sound: float) -> list[str]:
    """A row a way; ratios are of the same round."""
    fastest = min((way for way in seconds if way[0].startswith("SpeechBrain")), key=lambda way: np.median(seconds[way]))
    rows = [
        "| | precision | files/s | times real time | times as fast as SpeechBrain, one by one, float32 "
        f"| times as fast as {', '.join(fastest)} | differs by |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for way, found in seconds.items():
        ratios = [
            spread([other / own for other, own in zip(seconds[one], found, strict=True)], 2)
            for one in (REFERENCE, fastest)
        ]
        cells = [*way, spread([files / one for one in found], 2), spread([sound / one for one in found], 1), *ratios]
        rows.append(f"| {' | '.join(cells)} | {apart[way]:.1e} |")
    return rows


def markdown(speed: list[str], starts: dict[str, list[float]], about: str, repeats: int) -> str:
    """The dated report."""
    lines = [
        f"# Embedding many files, and the start of a command, {date.today()}",
        "",
        about,
        "",
        "ECAPA-TDNN of SpeechBrain with 1024 channels (20.8 M parameters) and its features, random weights, the same",
        "in every row: speakerlab reads the model by `speakerlab import`. From files on the disk (in the page cache)",
        f"to embeddings. Median of {repeats} rounds, lowest and highest in brackets; every way has its turn in each.",
        f"SpeechBrain's batches are of {BATCH} files of similar length, with their lengths; bf16 is autocast around",
        "its `encode_batch`. Workers are started and ended within the time. The last column is the largest distance",
        "from the embedding in the first row, as a fraction of its length: SpeechBrain lets padding into the last",
        "frames of a batch, and roundings differ.",
        "",
        *speed,
        "",
        "## Start",
        "",
        "Seconds from the start of a process to its end, two recordings compared by the same network:",
        "",
        "| | seconds |",
        "|---|---:|",
        *(f"| {name} | {spread(found, 2)} |" for name, found in starts.items()),
        "",
        machine(PACKAGES),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, metavar="DIR")
    parser.add_argument("--files", type=int, default=96, help="of DIR/dev, evenly chosen (default: 96)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, and starts of each command (default: 5)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(f"embedding_speed_{date.today()}.md"))
    arguments = parser.parse_args()
    names = sorted(list_audio(arguments.speech / "dev")["path"].to_pylist())
    if not 2 <= arguments.files <= len(names) or arguments.repeats < 1:
        parser.error(f"--files: 2 to {len(names)}, and --repeats: at least 1")
    chosen = np.linspace(0, len(names) - 1, arguments.files).astype(int)
    files = [str(arguments.speech / "dev" / names[place]) for place in chosen]
    load = f"load average {os.getloadavg()[0]:.1f} before the start, by other programs"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint, onnx, int8 = (folder / name for name in ("ecapa.ckpt", "ecapa.onnx", "ecapa_int8.onnx"))
        peer = make_peer(folder / "peer")
        ask("import", "speechbrain", folder / "peer", "-o", checkpoint)
        ask("export", checkpoint, "-o", onnx, "--audio", *files[:2])
        # Of random weights the drift says nothing.
        ask("export", checkpoint, "--to", "int8", "--max-drift", "2", "-o", int8, "--audio", *files[:2])
        seconds, apart = measure(ways(peer, checkpoint, onnx, int8), files, arguments.repeats)
        starts = measure_starts({"ONNX": onnx, "PyTorch": checkpoint}, files, arguments.repeats)
    sound = sum(soundfile.info(file).duration for file in files)
    about = (
        f"`python benchmarks/embedding_speed.py --speech DIR --files {len(files)} --repeats {arguments.repeats}`: "
        f"{sound:,.0f} s of speech, {torch.get_num_threads()} threads, {load}."
    )
    speed = speed_rows(seconds, apart, len(files), sound)
    arguments.output.write_text(markdown(speed, starts, about, arguments.repeats), encoding="utf-8")
    print(arguments.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
