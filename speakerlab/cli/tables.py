"""Tables at the end of a command."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from speakerlab.reports.metric_names import interval_words, metric_name, metric_value
from speakerlab.scoring.metrics import monitored

# Of what training and identification measure, in this order.
IN_A_ROW = ("accuracy", "top5_accuracy", "macro_f1", "eer", "min_dcf_0.01", "min_dcf_0.05", "threshold")
WIDEST = 10_000  # characters, of a table
COUNTS = ("targets", "nontargets")  # stand in the title


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a system or epoch: name -> metrics as `verification_metrics` or `identification_metrics` gives them."""
    known = [name for name in IN_A_ROW if all(name in metrics for metrics in rows.values())]
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in known:
        table.add_column(metric_name(name), justify="right")
    for row, metrics in rows.items():
        table.add_row(row, *(metric_value(name, metrics[name]) for name in known))
    return table


def trials_table(title: str, systems: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a metric, a column a system; the first one's 95 % intervals beside it where it has any.

    Args:
        title: above it.
        systems: name -> metrics as `speakerlab.inference.evaluation.trial_metrics` gives them.
    """
    present = dict.fromkeys(name for metrics in systems.values() for name in metrics)
    names = [name for name in present if name not in COUNTS and not name.endswith(("_low", "_high"))]
    first = next(iter(systems.values()))
    with_intervals = any(name.endswith("_low") for name in first)
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for place, system in enumerate(systems):
        table.add_column(system, justify="right", no_wrap=True)
        if place == 0 and with_intervals:
            table.add_column("95 % interval", justify="right", no_wrap=True)
    for name in names:
        cells = [metric_value(name, metrics.get(name)) for metrics in systems.values()]
        if with_intervals:
            cells.insert(1, interval_words(name, first))
        table.add_row(metric_name(name), *cells)
    return table


def text_table(title: str, rows: Mapping[str, Mapping[str, str]], text_columns: tuple[str, ...] = ()) -> Table:
    """A row a name, a column a key of the first row; columns are numbers but for `text_columns`."""
    headers = list(next(iter(rows.values()), ()))
    table = Table(title=title, title_justify="left", show_header=any(headers))
    table.add_column("")
    for header in headers:
        text = header in text_columns
        # Numbers stay whole: a line too long is better than a number in two.
        table.add_column(header, justify="left" if text else "right", overflow="fold", no_wrap=not text)
    for name, cells in rows.items():
        table.add_row(name, *(cells[header] for header in headers))
    return table


def show(*parts: object) -> None:
    """Print tables and lines, which may hold brackets; plain text where the output is no terminal.

    A table none of whose columns may wrap is printed whole, however narrow the terminal.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for part in parts:
        if isinstance(part, Table) and all(column.no_wrap for column in part.columns):
            wide = Measurement.get(console, console.options.update(max_width=WIDEST), part).maximum
            Console(highlight=False, markup=False, soft_wrap=True, width=max(console.width, wide)).print(part)
        else:
            console.print(part)


def show_training(
    folder: Path, report: Path, saved: Sequence[str] | Mapping[str, str] | None = None
) -> dict[str, float]:
    """The end of a training run: its best epoch, whose metrics it returns, and where everything lies.

    Args:
        folder: of the run.
        report: its page.
        saved: embeddings that it was trained on, which evaluate it too; None of a run on audio.
    """
    from speakerlab.reports.training import best_epoch

    best = best_epoch(folder)
    error = monitored(best)
    show(
        metrics_table(
            "development trials" if error == "eer" else "validation utterances",
            {f"best epoch, {best['epoch']:.0f}": best},
        ),
        f"checkpoint   {folder / 'checkpoints' / 'best.ckpt'}",
        f"report       {report}",
        f"TensorBoard  tensorboard --logdir {folder.parent}",
        f"evaluate     {_evaluation(folder, saved)}",
    )
    return best


def _evaluation(folder: Path, saved: Sequence[str] | Mapping[str, str] | None) -> str:
    """The command, to be pasted."""
    words = ["python", "evaluate.py", f"ckpt={folder}"]
    if isinstance(saved, Mapping):
        words.append(f"embeddings={{{', '.join(f'{name}: {path}' for name, path in saved.items())}}}")
    elif saved is not None:
        words.append(f"embeddings=[{','.join(saved)}]")
    return shlex.join(words)


def show_identification(
    folder: Path, name: str, metrics: Mapping[str, Mapping[str, float]], speakers: int, report: Path
) -> float:
    """The end of an identification by one or several systems. Returns the error rate of the first."""
    first = next(iter(metrics.values()))
    counts = f"{name}: {first['utterances']:,} utterances, {speakers:,} speakers"
    files = "predictions.csv" if len(metrics) == 1 else "{" + ",".join(metrics) + "}_predictions.csv"
    show(
        metrics_table(counts, metrics),
        f"report       {report}",
        f"predictions  {folder / 'scores' / name}_{files}",
    )
    return first["error_rate"]


def show_evaluation(folder: Path, name: str, metrics: Mapping[str, Mapping[str, float]], report: Path) -> float:
    """The end of an evaluation. Returns the EER of the first system, which is the model."""
    model = next(iter(metrics.values()))
    counts = f"{name}: {model['targets']:,} target and {model['nontargets']:,} non-target trials"
    lines = [f"report       {report}", f"scores       {folder / 'scores' / name}.csv"]
    if "eer_low" not in model:
        lines.insert(0, "no 95 % intervals: bootstrap_draws=0, or too few speakers have target trials")
    show(trials_table(counts, metrics), *lines)
    return model["eer"]
