"""`speakerlab models`: what each model of conf/model costs, beside what papers publish.

speakerlab models                                   # parameters, embedding, features, published figures
speakerlab models ecapa resnet34 --cost             # and multiply-accumulates, and milliseconds on one core
speakerlab models --cost --markdown docs/models.md  # as a page, with sources
speakerlab models ecapa --json
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from speakerlab import InputError
from speakerlab.cli.chosen_model import print_json


def add_commands(commands) -> None:
    """Add `models`."""
    models = commands.add_parser(
        "models",
        help="parameters, cost and published figures of each model",
        description="Count the parameters of each member of conf/model, and show what papers publish about it.",
    )
    models.add_argument("models", nargs="*", metavar="MODEL", help="such as ecapa (default: all)")
    models.add_argument(
        "--cost", action="store_true", help="count multiply-accumulates and time 2 s on one core, too: minutes for all"
    )
    ways = models.add_mutually_exclusive_group()
    ways.add_argument("--markdown", metavar="FILE", type=Path, help="write the table as a page, with its sources")
    ways.add_argument("--json", action="store_true", help="print one JSON object")
    models.set_defaults(run=run_models)


def run_models(chosen: argparse.Namespace) -> None:
    """Print the table or its numbers, or write the page."""
    names = chosen_models(chosen.models)

    from speakerlab.cli.tables import show, text_table
    from speakerlab.reports.models import cells, models_page, published

    rows = measured(names, chosen.cost)
    if chosen.json:
        print_json({"models": facts(rows, published())})
        return
    if chosen.markdown is None:
        table = text_table("", cells(rows), ("features",))
        for column in table.columns:
            column.no_wrap = True  # a line too long is better than names in scraps
        show(table, "published, and EER % on VoxCeleb1-O: of papers and official code; --markdown says of which")
        return
    from speakerlab.data.manifest import replacing

    words = ["speakerlab", "models", *chosen.models, *(["--cost"] if chosen.cost else []), "--markdown"]
    chosen.markdown.parent.mkdir(parents=True, exist_ok=True)
    with replacing(chosen.markdown) as draft:
        page = models_page(rows, " ".join([*words, str(chosen.markdown)]), machine(chosen.cost))
        draft.write_text(page, encoding="utf-8")
    show(f"page     {chosen.markdown}")


def chosen_models(given: list[str]) -> list[str]:
    """The named members of conf/model, or all, each once.

    Raises:
        InputError: for a name that is none, with the nearest that is one.
    """
    from speakerlab.shipped import CONF, nearest

    members = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
    for name in given:
        if name not in members:
            raise InputError(
                f"{name}: there is no conf/model/{name}.yaml{nearest(name, members)} (there are: {', '.join(members)})"
            )
    return list(dict.fromkeys(given)) or members


def measured(names: list[str], with_cost: bool) -> dict:
    """A `reports.models.Row` for each model."""
    from speakerlab.cli.launch import compose
    from speakerlab.cli.progress import progress_bar
    from speakerlab.inference.cost import macs, milliseconds, sizes
    from speakerlab.reports.models import Row
    from speakerlab.training.hardware import prepare_cpu

    if with_cost:
        prepare_cpu(threads=1)
    rows = {}
    with progress_bar("models", unit="models") as progress:
        for done, name in enumerate(names):
            progress(done, len(names))
            cfg, choices = compose("train", [f"model={name}"])
            cost = (macs(cfg), milliseconds(cfg)) if with_cost else (None, None)
            rows[name] = Row(*sizes(cfg), features_of(cfg, choices), *cost)
    return rows


def facts(rows: dict, figures: dict) -> list[dict]:
    """What `--json` prints of each model: what is counted here, and figures as papers print them; null is not measured.

    Args:
        rows: name -> `reports.models.Row`.
        figures: as `reports.models.published` gives them.
    """
    return [
        {
            "name": name,
            **asdict(row),
            "published": {key: asdict(figure) for key, figure in figures.get(name, {}).items()},
        }
        for name, row in rows.items()
    ]


def features_of(cfg, choices: dict[str, str]) -> str:
    """What a network sees, by the members of `features` and `frames`; of a fusion, as its branches do.

    >>> features_of({"model": {}}, {"features": "fbank", "frames": "fixed"})
    'fbank, fixed'
    """
    if "branches" in cfg["model"]:
        return f"as {' and '.join(cfg['model']['branches'])}"
    return choices["features"] + ("" if choices["frames"] == "default" else f", {choices['frames']}")


def machine(with_cost: bool) -> list[str]:
    """When and with what a page was made."""
    from speakerlab.inference.cost import REPEATS
    from speakerlab.record import environment

    facts = environment()
    versions = ", ".join(f"{name} {facts['libraries'][name]}" for name in ("torch", "torchaudio"))
    lines = [f"{facts['started'][:10]}, speakerlab {facts['speakerlab']}, Python {facts['python']}, {versions}."]
    if with_cost:
        lines.append(
            "Milliseconds: CPU time from waveform to embedding, one utterance of 2 s in float32 on one core of "
            f"{processor()} ({facts['platform']}), median of {REPEATS}."
        )
    return lines


def processor() -> str:
    """The CPU's name where the system tells it."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
