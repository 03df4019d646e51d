"""`speakerlab import`: a checkpoint of SpeechBrain, WeSpeaker or voxceleb_trainer becomes one of this program.

speakerlab import speechbrain pretrained_models/spkrec-ecapa-voxceleb -o speechbrain_ecapa.ckpt
speakerlab import wespeaker voxceleb_resnet34/avg_model.pt
speakerlab import voxceleb_trainer baseline_v2_ap.model -o half_resnet34.ckpt --json
python evaluate.py ckpt=speechbrain_ecapa.ckpt trials=vox1_o_cleaned trials_root=/data/voxceleb1
"""

import argparse
from pathlib import Path

from speakerlab.cli.chosen_model import print_json


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `import`."""
    from speakerlab.inference.peers import PEERS

    parser = commands.add_parser(
        "import",
        help="make a checkpoint of this program from one of SpeechBrain, WeSpeaker or voxceleb_trainer",
        description="Read a model of another program, features included, and write a checkpoint that is used like any "
        "trained here. Weights are read as data, never run; unless each of them has its place, nothing is written.",
        epilog="; ".join(f"{peer}: {what}" for peer, what in PEERS.items()),
    )
    parser.add_argument("peer", choices=PEERS, help="the program that it is of")
    parser.add_argument("file", metavar="FILE", type=Path, help="the weights, or the folder of a pretrained model")
    parser.add_argument("-o", dest="output", metavar="OUT.ckpt", type=Path, help="default: <what it is>.ckpt, here")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Read, convert, write, and say what became of what."""
    from importlib import import_module

    from speakerlab.cli.launch import compose
    from speakerlab.cli.tables import show
    from speakerlab.inference.peers.conversion import convert, write

    path = chosen.file.expanduser()
    imported = import_module(f"speakerlab.inference.peers.{chosen.peer}").read(path)
    cfg, choices = compose("train", [*imported.overrides, "loader.sample_rate=16000", f"name={imported.name}"])
    checkpoint, parameters = convert(imported, cfg, chosen.peer)
    target = chosen.output or Path(f"{imported.name}.ckpt")
    write(checkpoint, target)
    found = facts(imported, checkpoint, choices, target) | {"parameters": parameters}
    if chosen.json:
        print_json(found)
        return
    speakers = f", {found['speakers']:,} training speakers" if found["speakers"] else ""
    show(
        f"{imported.architecture}: {found['parameters']:,} parameters, embeddings of {found['embed_dim']}{speakers}",
        f"features     {found['features']}, norm={found['norm']}, {found['sample_rate']:,} Hz",
        *(f"left out     {line}" for line in imported.left_out),
        *(f"note         {line}" for line in imported.notes),
        f"checkpoint   {target}",
        f"evaluate     python evaluate.py ckpt={target} trials=LIST trials_root=FOLDER",
    )


def facts(imported, checkpoint: dict, choices: dict[str, str], target: Path) -> dict:
    """What `--json` prints."""
    config = checkpoint["config"]
    return {
        "checkpoint": str(target),
        **checkpoint["imported"],
        "model": imported.architecture.split(maxsplit=1)[1],
        "embed_dim": config["model"]["encoder"]["embed_dim"],
        "features": choices["features"],
        "norm": choices["norm"],
        "sample_rate": config["loader"]["sample_rate"],
        "speakers": len(checkpoint["speakers"]),
        "left_out": imported.left_out,
        "notes": imported.notes,
    }
