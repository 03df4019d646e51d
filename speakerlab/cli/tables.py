"""Tables at the end of a command."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from speakerlab.scoring.metrics import monitored

HEADERS = {
    "accuracy": "accuracy",
    "top5_accuracy": "top 5",
    "macro_f1": "macro F1",
    "eer": "EER",
    "min_dcf_0.01": "minDCF(0.01)",
    "min_dcf_0.05": "minDCF(0.05)",
    "threshold": "EER threshold",
}
SHARES = ("eer", "accuracy", "top5_accuracy", "macro_f1")  # shown in percent


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a system or epoch: name -> metrics as `verification_metrics` or `identification_metrics` gives them."""
    known = [key for key in HEADERS if all(key in metrics for metrics in rows.values())]
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for key in known:
        table.add_column(HEADERS[key], justify="right")
    for name, metrics in rows.items():
        table.add_row(
            name, *(f"{100 * metrics[key]:.2f} %" if key in SHARES else f"{metrics[key]:.4f}" for key in known)
        )
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
    """Print tables and lines, which may hold brackets; plain text where the output is no terminal."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for part in parts:
        console.print(part)


def show_training(folder: Path, report: Path) -> float:
    """The end of a training run: its best epoch, and where everything lies. Returns the best EER or error rate."""
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
        f"evaluate     python evaluate.py ckpt={folder}",
    )
    return best[error]


def show_identification(folder: Path, name: str, metrics: Mapping[str, float], speakers: int, report: Path) -> float:
    """The end of an identification. Returns the error rate."""
    counts = f"{name}: {metrics['utterances']:,} utterances, {speakers:,} speakers"
    show(
        metrics_table(counts, {"model": metrics}),
        f"report       {report}",
        f"predictions  {folder / 'scores' / name}.csv",
    )
    return metrics["error_rate"]


def show_evaluation(folder: Path, name: str, metrics: Mapping[str, Mapping[str, float]], report: Path) -> float:
    """The end of an evaluation. Returns the model's EER."""
    model = metrics["model"]
    counts = f"{name}: {model['targets']:,} target and {model['nontargets']:,} non-target trials"
    lines = [f"report       {report}", f"scores       {folder / 'scores' / name}.txt"]
    if "eer_low" in model:
        low, high = 100 * model["eer_low"], 100 * model["eer_high"]
        lines.insert(0, f"95 % interval of the EER, by bootstrap over speakers: {low:.2f} to {high:.2f} %")
    else:
        lines.insert(0, "no 95 % interval of the EER: bootstrap_draws=0, or too few speakers have target trials")
    show(metrics_table(counts, metrics), *lines)
    return model["eer"]
