"""`speakerlab export`: a trained model as a file that other programs run.

speakerlab export outputs/ecapa_aam/2026-01-31_12-00-00                     # ONNX, below export/ in the run's folder
speakerlab export best.ckpt --to int8 --audio recordings/ -o small.onnx
speakerlab export best.ckpt --to folder -o ecapa
"""

import argparse
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from speakerlab import InputError
from speakerlab.cli.chosen_model import print_json, tell

if TYPE_CHECKING:
    from speakerlab.inference.export.exporting import Exported

KINDS = {
    "onnx": "ONNX in float32",
    "fp16": "ONNX in 16-bit floats",
    "int8": "ONNX with 8-bit weights",
    "torch": "a torch.export program",
    "folder": "safetensors, config, card and README",
}
MAX_DRIFT = 0.05


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `export`."""
    parser = commands.add_parser(
        "export",
        help="write a trained model as ONNX, a torch.export program or a self-contained folder",
        description="Write the whole path from a waveform to its embedding as one file, which is compared with PyTorch "
        "on recordings before it has its name.",
        epilog="speakerlab export outputs/ecapa_aam/2026-01-31_12-00-00 --to onnx",
    )
    parser.add_argument("model", metavar="CKPT", help="a checkpoint, a run's folder or an exported folder")
    parser.add_argument(
        "--to", choices=KINDS, default="onnx", help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="by default below export/ in the run's folder")
    parser.add_argument(
        "--audio",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files and folders to compare on (default: the run's development recordings, else synthetic voices)",
    )
    parser.add_argument(
        "--max-drift",
        type=float,
        default=MAX_DRIFT,
        metavar="X",
        help=f"by how much fp16 and int8 may change a cosine score (default: {MAX_DRIFT})",
    )
    parser.add_argument(
        "--trust", metavar="CLASS", action="append", default=[], help="of your own, that the checkpoint may name"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Export; print what was written and how exact it is."""
    if not 0 <= chosen.max_drift < math.inf:
        raise InputError(f"--max-drift {chosen.max_drift} must be 0 or more")
    from speakerlab.cli.tables import show
    from speakerlab.inference.engines.torch import TorchEngine
    from speakerlab.inference.export.exporting import export, target_of
    from speakerlab.inference.export.folder import is_exported
    from speakerlab.inference.model import find_checkpoint

    model = Path(chosen.model).expanduser()
    if model.suffix.lower() in (".onnx", ".pt2"):
        raise InputError(f"{model}: is exported already; give the checkpoint that it was made of, or its folder")
    engine = TorchEngine(model, "cpu", tuple(chosen.trust))
    model = model if is_exported(model) else find_checkpoint(str(model))
    target = target_of(model, chosen.to, chosen.output)
    settings = {"audio": chosen.audio, "max_drift": chosen.max_drift, "note": tell}
    found = export(engine, model, chosen.to, target, **settings)
    if chosen.json:
        print_json(plain(found))
        return
    show(*lines(found))


def plain(found: "Exported") -> dict:
    """What `--json` prints."""
    drift = None if found.drift is None else found.drift.plain()
    times = None if found.times_real_time is None else dict(zip(("export", "pytorch"), found.times_real_time))
    plain = {
        "kind": found.kind,
        "path": str(found.path),
        "bytes": found.size,
        "checked_on": found.recordings or None,
        "largest_difference": found.difference,
        "drift": drift,
        "times_real_time": times,
    }
    return {name: value for name, value in plain.items() if value is not None}


def lines(found: "Exported") -> list[str]:
    """What is printed for people."""
    told = [f"written      {found.path} ({found.size / 1e6:,.1f} MB: {KINDS[found.kind]})"]
    if found.difference is not None:
        told.append(f"checked      {found.difference:.1g} of an embedding's length from PyTorch: {found.recordings}")
    if found.drift is not None:
        told += found.drift.lines()
    if found.times_real_time is not None:
        export, torch = found.times_real_time
        told.append(f"speed        {export:,.0f} times real time, PyTorch {torch:,.0f} times (one by one, here)")
    if found.kind != "torch":
        told.append(f"use          speakerlab verify A.wav B.wav --model {shlex.quote(str(found.path))}")
    return told
