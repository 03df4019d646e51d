"""The mean of several checkpoints of a run.

Izmailov, Podoprikhin, Garipov, Vetrov, Wilson: "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
2018; as speaker recipes do it, batch norms' statistics are averaged too and not measured anew.
"""

import csv
from pathlib import Path

from torch import Tensor

from speakerlab import InputError
from speakerlab.build import load_checkpoint

ERRORS = ("eer", "error_rate")  # columns of val_metrics.csv that say how good an epoch is


def kept_epochs(run: Path) -> dict[int, Path]:
    """Epoch -> its checkpoint, of those that `callbacks.checkpoints.every_epoch=true` has kept.

    Raises:
        InputError: if there are none.
    """
    paths = sorted((run / "checkpoints").glob("epoch_*.ckpt"))
    if not paths:
        raise InputError(
            f"{run}: has no checkpoints/epoch_*.ckpt; train with callbacks.checkpoints.every_epoch=true to keep them"
        )
    return {int(path.stem.removeprefix("epoch_")): path for path in paths}


def choose(run: Path, last: int | None, best: int | None) -> list[Path]:
    """The `last` epochs' checkpoints, or those of the `best` by development error.

    Raises:
        InputError: if there are not so many.
    """
    kept = kept_epochs(run)
    if best is None:
        ranked = sorted(kept, reverse=True)
    else:
        errors = _errors(run / "metrics" / "val_metrics.csv")
        ranked = sorted((epoch for epoch in kept if epoch in errors), key=lambda epoch: (errors[epoch], -epoch))
    count = last if best is None else best
    if count < 1 or count > len(ranked):
        kind = "kept" if best is None else "kept and measured"
        raise InputError(f"{run}: {count} epochs are asked for; {len(ranked)} are {kind}")
    return [kept[epoch] for epoch in sorted(ranked[:count])]


def _errors(path: Path) -> dict[int, float]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file, which says how good each epoch is; use --last")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = next((name for name in ERRORS if rows and name in rows[0]), None)
    if column is None:
        raise InputError(f"{path}: has no column {' or '.join(ERRORS)}")
    return {int(row["epoch"]): float(row[column]) for row in rows}


def average(paths: list[Path]) -> dict:
    """A checkpoint whose weights are the means of these, summed in float64; whole numbers, config and speakers are the
    last one's. It has no optimizer: runs start from it by `fine_tuning.ckpt`, and do not go on with it.

    Raises:
        InputError: if their networks or speakers differ.
    """
    total: dict[str, Tensor] = {}
    for number, path in enumerate(paths):  # one at a time: several would not fit into a small memory
        contents = load_checkpoint(path)
        weights = contents["state_dict"]
        if number == 0:
            first = contents
            total = {name: value.double() for name, value in weights.items() if value.is_floating_point()}
            continue
        same = total.keys() <= weights.keys() and all(weights[name].shape == total[name].shape for name in total)
        if not same or contents["speakers"] != first["speakers"]:
            raise InputError(f"{path}: another network or other speakers than {paths[0]}")
        for name, value in total.items():
            value += weights[name]
    means = {name: (value / len(paths)).to(weights[name].dtype) for name, value in total.items()}
    kept = ("config", "speakers", "left_out", "voices", "utterances", "epoch", "global_step")
    return {key: contents[key] for key in kept if key in contents} | {"state_dict": weights | means}
