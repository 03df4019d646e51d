"""From a checkpoint to a file or folder that is checked before it has its name."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from speakerlab import InputError
from speakerlab.data.development import run_folder
from speakerlab.data.manifest import replacing
from speakerlab.inference.card import ModelCard
from speakerlab.inference.engines.onnx import OnnxEngine
from speakerlab.inference.engines.torch import TorchEngine
from speakerlab.inference.export.drift import Drift, Embed, measure_drift
from speakerlab.inference.export.folder import write_folder
from speakerlab.inference.export.onnx import check, embed_one_by_one, failure, to_onnx, write_onnx
from speakerlab.inference.export.program import load_program, write_program
from speakerlab.inference.export.quantised import to_fp16, to_int8
from speakerlab.inference.export.specimens import Specimens, find_specimens

ENDINGS = {"onnx": ".onnx", "fp16": "_fp16.onnx", "int8": "_int8.onnx", "torch": ".pt2", "folder": ""}
SMALLER = {"fp16": to_fp16, "int8": to_int8}
REPEATS = 3  # of measuring the speed, of which the fastest counts: other programs only slow down
Note = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        kind: one of `ENDINGS`.
        path: of the file or folder.
        size: in bytes.
        recordings: that it was checked on, in words; none for a folder, which is the checkpoint's own weights.
        difference: of the embeddings, as a fraction of their length; None where rounding makes them differ.
        drift: of the scores, where it does.
        times_real_time: how much sound the export and PyTorch embed in the time that it lasts; None for a folder.
    """

    kind: str
    path: Path
    size: int
    recordings: str = ""
    difference: float | None = None
    drift: Drift | None = None
    times_real_time: tuple[float, float] | None = None


def target_of(model: Path, kind: str, output: str | None) -> Path:
    """Where to write: `output`, or below `export/` in the run's folder or beside the model.

    Raises:
        InputError: if it can't be a file of this kind.
    """
    if output is None:
        return (run_folder(model) or model.parent) / "export" / f"{model.stem}{ENDINGS[kind]}"
    path = Path(output).expanduser()
    ending = Path(f"x{ENDINGS[kind]}").suffix
    if path.suffix != ending and kind != "folder":
        raise InputError(f"-o {output}: must end in {ending}, by which such files are known")
    if kind != "folder" and path.is_dir():
        raise InputError(f"-o {output}: is a folder; give a file")
    return path


def export(
    engine: TorchEngine,
    model: Path,
    kind: str,
    target: Path,
    audio: Sequence[str] = (),
    max_drift: float = 0.05,
    note: Note = lambda line: None,
) -> Exported:
    """Write one export; what fails its check is not written.

    Args:
        engine: the model, on the CPU.
        model: where it is, which the recordings to check on are found by.
        kind: one of `ENDINGS`.
        target: to write.
        audio: files and folders to check on, instead of the run's.
        max_drift: the largest difference between cosine scores that "fp16" and "int8" may make.
        note: is told what is being done.

    Raises:
        InputError: if the network can't be exported so, or differs too much afterwards.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        write_folder(engine, target)
        return Exported(kind, target, sum(file.stat().st_size for file in target.iterdir()))
    specimens = find_specimens(model, engine.card.sample_rate, audio)
    write = _write_program if kind == "torch" else _write_onnx if kind == "onnx" else _write_smaller
    return write(engine.network, engine.card, kind, target, specimens, max_drift, note)


def _write_program(
    network: nn.Module, card: ModelCard, kind: str, target: Path, specimens: Specimens, _: float, note: Note
) -> Exported:
    note("tracing the network")
    with replacing(target) as draft:
        write_program(network, card, draft)
        note(f"checking on {specimens.origin}")
        embed = load_program(draft)
        difference = check(embed, network, specimens)
        times = _times(embed, network, specimens, card.sample_rate)
    return Exported(kind, target, target.stat().st_size, specimens.origin, difference, None, times)


def _write_onnx(
    network: nn.Module, card: ModelCard, kind: str, target: Path, specimens: Specimens, _: float, note: Note
) -> Exported:
    note("tracing the network")
    model, least = to_onnx(network, card.sample_rate)
    with replacing(target) as draft:
        write_onnx(model, card, least, draft)
        note(f"checking on {specimens.origin}")
        engine = _opened(draft, network)
        difference = check(engine, network, specimens, least)
        times = _times(engine, network, specimens, card.sample_rate)
    return Exported(kind, target, target.stat().st_size, specimens.origin, difference, None, times)


def _write_smaller(
    network: nn.Module, card: ModelCard, kind: str, target: Path, specimens: Specimens, max_drift: float, note: Note
) -> Exported:
    if len(specimens.waveforms) < 2:
        raise InputError(f"--to {kind}: its scores are compared over pairs: give two or more recordings with --audio")
    note("tracing the network")
    model, least = to_onnx(network, card.sample_rate)
    smaller = SMALLER[kind](model)
    with replacing(target) as draft:
        write_onnx(model, card, least, draft)
        note(f"checking on {specimens.origin}")
        check(_opened(draft, network), network, specimens, least)  # or else it is not the rounding that is measured
        write_onnx(smaller, card, least, draft)
        engine = _opened(draft, network)
        found, expected = engine(specimens.waveforms), embed_one_by_one(network)(specimens.waveforms)
        drift = measure_drift(found, expected, specimens)
        if not drift.largest <= max_drift:
            raise InputError(
                f"nothing is written: {kind} changes scores by up to {drift.largest:.4f} ({drift.mean:.4f} on average, "
                f"{drift.pairs:,} pairs of {drift.recordings}), and --max-drift is {max_drift:g}"
            )
        write_onnx(smaller, with_drift(card, kind, drift), least, draft)
        times = _times(engine, network, specimens, card.sample_rate)
    return Exported(kind, target, target.stat().st_size, specimens.origin, None, drift, times)


def _opened(draft: Path, network: nn.Module) -> OnnxEngine:
    """What was just written, as whoever uses it opens it.

    Raises:
        InputError: if it is refused, which is no fault of the user's file.
    """
    try:
        return OnnxEngine(draft, "cpu")
    except InputError as error:
        raise InputError(failure(network, "to ONNX as ONNX Runtime takes it", error)) from error


def with_drift(card: ModelCard, kind: str, drift: Drift) -> ModelCard:
    """The card of a smaller model, which says how its scores differ."""
    numbers = {
        f"{kind} drift_largest": drift.largest,
        f"{kind} drift_mean": drift.mean,
        f"{kind} eer": drift.eer,
        "float32 eer": drift.eer_exact,
    }
    known = {name: value for name, value in numbers.items() if value is not None}
    return replace(card, metrics={**card.metrics, **known})


def _times(embed: Embed, network: nn.Module, specimens: Specimens, sample_rate: int) -> tuple[float, float]:
    """How many times faster than real time the export and the network are, on a few recordings one by one."""
    waveforms = specimens.waveforms[:4]
    seconds = sum(map(len, waveforms)) / sample_rate
    both = (embed, embed_one_by_one(network))
    found, exact = (seconds / min(_seconds(one, waveforms) for _ in range(REPEATS)) for one in both)
    return found, exact


def _seconds(embed: Embed, waveforms: list[np.ndarray]) -> float:
    began = time.perf_counter()
    for waveform in waveforms:
        embed([waveform])
    return time.perf_counter() - began
