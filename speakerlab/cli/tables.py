"""Tables at the end of a command."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

HEADERS = {
    "eer": "EER",
    "min_dcf_0.01": "minDCF(0.01)",
    "min_dcf_0.05": "minDCF(0.05)",
    "threshold": "EER threshold",
}


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a system or epoch: name -> metrics as `verification_metrics` gives them."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for header in HEADERS.values():
        table.add_column(header, justify="right")
    for name, metrics in rows.items():
        cells = [f"{100 * metrics['eer']:.2f} %", *(f"{metrics[key]:.4f}" for key in HEADERS if key != "eer")]
        table.add_row(name, *cells)
    return table


def text_table(title: str, rows: Mapping[str, Mapping[str, str]], text_columns: tuple[str, ...] = ()) -> Table:
    """A row a name, a column a key of the first row; columns are numbers but for `text_columns`."""
    headers = list(next(iter(rows.values()), ()))
    table = Table(title=title, title_justify="left", show_header=any(headers))
    table.add_column("")
    for header in headers:
        text = header in text_columns
        table.add_column(header, justify="left" if text else "right", overflow="fold")
    for name, cells in rows.items():
        table.add_row(escape(name), *(escape(cells[header]) for header in headers))
    return table


def show(*parts: object) -> None:
    """Print tables and lines; plain text where the output is no terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for part in parts:
        console.print(part)


def show_training(folder: Path, report: Path) -> float:
    """The end of a training run: its best epoch, and where everything lies. Returns the best EER."""
    from speakerlab.reports.training import best_epoch

    best = best_epoch(folder)
    show(
        metrics_table("development trials", {f"best epoch, {best['epoch']:.0f}": best}),
        f"checkpoint   {folder / 'checkpoints' / 'best.ckpt'}",
        f"report       {report}",
        f"TensorBoard  tensorboard --logdir {folder.parent}",
        f"evaluate     python evaluate.py ckpt={folder}",
    )
    return best["eer"]


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
