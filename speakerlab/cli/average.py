"""`speakerlab average`: the mean of a run's last or best checkpoints."""

import argparse
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "average",
        help="average the weights of a run's last or best epochs",
        description="Average the weights of epochs that a run has kept (callbacks.checkpoints.every_epoch=true). The "
        "result is evaluated and used like any checkpoint.",
        epilog="speakerlab average outputs/ecapa_aam/2026-01-01_12-00-00 --last 10",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run's folder")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--last", type=int, metavar="N", help="the last N epochs")
    which.add_argument("--best", type=int, metavar="N", help="the N epochs with the lowest development error")
    parser.add_argument("--to", type=Path, metavar="FILE", help="by default RUN/checkpoints/average_last_N.ckpt")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Average, write, and say of what."""
    import torch

    from speakerlab.cli.tables import show
    from speakerlab.data.manifest import replacing
    from speakerlab.training.averaging import average, choose

    paths = choose(arguments.folder, arguments.last, arguments.best)
    name = f"average_last_{len(paths)}" if arguments.best is None else f"average_best_{len(paths)}"
    target = arguments.to or arguments.folder / "checkpoints" / f"{name}.ckpt"
    mean = average(paths)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as draft:
        torch.save(mean, draft)
    show(
        f"mean of {', '.join(path.name for path in paths)}",
        f"evaluate with    python evaluate.py ckpt={target}",
    )
