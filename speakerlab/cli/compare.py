"""`speakerlab compare`: several runs side by side, and which differences are significant.

speakerlab compare outputs/ecapa_aam/2026-01-31_12-00-00 outputs/resnet34_aam/2026-02-01_12-00-00
speakerlab compare a/checkpoints/best.ckpt b/checkpoints/best.ckpt --to comparison
speakerlab compare ours.csv theirs.txt                              # files of scores over one list
"""

import argparse
from pathlib import Path

COSTS = ("parameters", "macs", "disk_mb", "embeddings_per_second", "latency_ms", "memory_mb")  # in this order


def add_commands(commands) -> None:
    """Add `compare`."""
    parser = commands.add_parser(
        "compare",
        help="table and bar charts of several runs, with intervals and significant differences",
        description="Compare runs on the lists that all of them were scored on, and what their networks cost.",
        epilog="speakerlab compare outputs/ecapa_aam/2026-01-31_12-00-00 outputs/resnet34_aam/2026-02-01_12-00-00",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder, a checkpoint, or a file of scores `label enrol test score`",
    )
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help="folder of the page (default: outputs/compare/<date_time>)"
    )
    parser.add_argument(
        "--draws", metavar="N", type=int, help="of the bootstrap over speakers (default: 1000, more for many runs)"
    )
    parser.add_argument(
        "--device", default="cpu", help="where speed and memory are measured: cpu (one core), cuda, auto"
    )
    parser.add_argument("--without-cost", action="store_true", help="measure no speed and memory")
    parser.add_argument(
        "--trust", metavar="CLASS", action="append", default=[], help="of your own, that the checkpoints may name"
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Compare, write, and print what was found."""
    from speakerlab import InputError
    from speakerlab.cli.progress import progress_bar
    from speakerlab.cli.tables import show
    from speakerlab.data.tree import make_folder
    from speakerlab.inference.comparison import compare
    from speakerlab.inference.evaluation import FEWEST_DRAWS
    from speakerlab.inference.model import pick_devices
    from speakerlab.inference.runs import find_runs, find_shared
    from speakerlab.reports.compare import conclusions, cost_cells, drawn_metrics, metrics_cells, write_comparison
    from speakerlab.scoring.comparison import draws_for

    if chosen.draws is not None and chosen.draws < FEWEST_DRAWS:
        raise InputError(f"--draws {chosen.draws} must be at least {FEWEST_DRAWS}")
    device = str(pick_devices(chosen.device, processes=1)[0])
    runs = find_runs(chosen.runs)
    lists, notes = find_shared(runs)
    configs = {} if chosen.without_cost else _configs(runs, tuple(chosen.trust))
    folder = make_folder(chosen.to or _new_folder(), "--to")

    labels, compared = [run.label for run in runs], []
    for one in lists:
        with progress_bar(one.name, unit="systems") as progress:
            compared.append(compare(one, labels, draws_for(len(runs), chosen.draws), progress))
    costs = {}
    with progress_bar("cost", unit="models") as progress:
        for done, (label, config) in enumerate(configs.items()):
            progress(done, len(configs))
            checkpoint = next(run.checkpoint for run in runs if run.label == label)
            found = _cost(config, tuple(chosen.trust), device) | {"disk_mb": checkpoint.stat().st_size / 1e6}
            costs[label] = {name: found[name] for name in COSTS}

    page = write_comparison(folder, compared, costs, _facts(chosen.runs, device, bool(costs)), notes)
    for one in compared:
        show(_table(f"{one.name}: {one.counts}", metrics_cells(one, drawn_metrics(one))), *conclusions(one))
    if costs:
        show(_table("cost", cost_cells(costs)))
    show(
        *notes,
        f"page         {page}",
        f"tables       {folder}/comparison.csv ...",
    )


def _configs(runs: list, trust: tuple[str, ...]) -> dict[str, dict]:
    """Label -> config of each checkpoint, whose network can be built; what can't be is known before hours of work."""
    from speakerlab import InputError
    from speakerlab.build import load_checkpoint, network_from_checkpoint

    configs = {}
    for run in runs:
        if run.checkpoint is not None:
            contents = load_checkpoint(run.checkpoint)
            try:
                network_from_checkpoint(contents, trust, for_audio=False)  # whose cost is that of its shape
            except InputError as error:
                raise InputError(f"{run.checkpoint}: {error}; --without-cost compares the scores alone") from error
            configs[run.label] = contents["config"]
    return configs


def _cost(config: dict, trust: tuple[str, ...], device: str) -> dict[str, float]:
    """In a new process, in which nothing else has taken memory."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (config, trust, device))


def _measured(config: dict, trust: tuple[str, ...], device: str) -> dict[str, float]:
    from dataclasses import asdict

    from speakerlab.inference.cost import cost
    from speakerlab.training.hardware import prepare_cpu

    prepare_cpu(threads=1)
    return asdict(cost(config, trust, device))


def _table(title: str, cells: dict[str, dict[str, str]]):
    from speakerlab.cli.tables import text_table

    table = text_table(title, cells)
    table.columns[0].no_wrap = True  # a narrow terminal leaves the labels whole, and so the table
    return table


def _new_folder() -> Path:
    from datetime import datetime

    return Path("outputs", "compare", datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


def _facts(given: list[str], device: str, with_cost: bool) -> dict[str, str]:
    """When, how and on what."""
    import shlex

    from speakerlab.cli.models import machine, processor

    facts = {"command": shlex.join(["speakerlab", "compare", *given]), "versions": machine(with_cost=False)[0]}
    if with_cost:
        where = f"one core of {processor()}, its CPU time" if device == "cpu" else device
        facts["speed and memory"] = f"measured on {where}"
    return facts
