"""`speakerlab sweep`: what a sweep has found, its best configuration, and its failed trials once more.

speakerlab sweep status
speakerlab sweep status margin
speakerlab sweep best margin --trial 7
speakerlab sweep retry margin
"""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from speakerlab import InputError


def add_commands(commands) -> None:
    """Add `sweep`."""
    family = commands.add_parser("sweep", help="what sweeps have found; their best; failed trials once more")
    kinds = family.add_subparsers(metavar="WHAT", required=True)
    status = kinds.add_parser("status", help="a sweep's trials, or all sweeps")
    status.add_argument("study", nargs="?", metavar="STUDY", help="its name, or its folder; none lists all")
    status.set_defaults(run=show_status)
    best = kinds.add_parser(
        "best",
        help="write best.yaml, the report and TensorBoard's HParams",
        description="Write best.yaml, report.html and tensorboard/ into the study's folder, also while it goes on.",
    )
    best.add_argument("study", metavar="STUDY", help="its name, or its folder")
    best.add_argument("--trial", type=int, metavar="N", help="not the best trial but this, such as one of the front")
    best.set_defaults(run=show_best)
    retry = kinds.add_parser(
        "retry",
        help="queue failed trials again",
        description="Queue failed trials again with the same parameters; the sweep's own command runs them.",
    )
    retry.add_argument("study", metavar="STUDY", help="its name, or its folder")
    retry.add_argument("--trial", type=int, nargs="+", metavar="N", help="only these; default: all that failed")
    retry.set_defaults(run=retry_failed)
    for parser in (status, best, retry):
        parser.add_argument("--storage", metavar="URL", help="of the study's database, if it is not in its folder")
        parser.add_argument(
            "--output-dir", default="outputs", metavar="DIR", help="that has sweeps/ (default: outputs)"
        )


def show_status(chosen: argparse.Namespace) -> None:
    """Print a study's trials, or a line a study."""
    from speakerlab.sweeping.results import study_folder
    from speakerlab.sweeping.study import DATABASE, load

    if chosen.study is None:
        _show_all(chosen)
        return
    folder = study_folder(chosen.study, chosen.output_dir)
    if chosen.storage is None and not (folder / DATABASE).is_file() and (folder / "sweep.json").is_file():
        from speakerlab.cli.members import summarise

        summarise(folder)  # a grid, which has no study
        return
    from speakerlab.cli.tables import show, text_table
    from speakerlab.reports.sweep import outcome, trial_rows

    sweep = sweep_trials(load(chosen.study, chosen.storage, chosen.output_dir), folder)
    facts = [f"{name}: {words}" for name, words in outcome(sweep).items()]
    rows = trial_rows(sweep, sweep.trials)
    table = text_table(f"study {sweep.study.study_name}", rows, ("",)) if rows else "no trial has begun"
    show(table, *facts)


def _show_all(chosen: argparse.Namespace) -> None:
    from speakerlab.cli.tables import show, text_table
    from speakerlab.sweeping.study import DATABASE, databases, shown_url, study_names, sweeps_folder

    sweeps = sweeps_folder(chosen.output_dir)
    if chosen.storage is not None:
        place = shown_url(chosen.storage)
        rows = {name: _outlined(name, sweeps / name, chosen.storage) for name in study_names(chosen.storage)}
    else:
        place = str(sweeps)
        folders = [path.parent for path in databases(sweeps)]
        rows = {str(folder.relative_to(sweeps)): _outlined(folder, folder, None) for folder in folders}
        grids = [path.parent for path in sorted(sweeps.glob("*/*/members.csv"))]
        grids = [grid for grid in grids if not (grid / DATABASE).is_file()]
        rows |= {str(grid.relative_to(sweeps)): {"trials": "a grid: members.csv", "best": ""} for grid in grids}
    if not rows:
        raise InputError(f"{place}: no sweep is here; --output-dir or --storage say where else")
    show(text_table(f"sweeps in {place}", rows, ("trials", "best")))


def _outlined(study: str | Path, folder: Path, storage: str | None) -> dict[str, str]:
    """One study's cells; one that can't be read does not hide the others."""
    from speakerlab.reports.sweep import outcome
    from speakerlab.sweeping.study import load

    try:
        facts = outcome(sweep_trials(load(study, storage), folder))
    except InputError as error:
        return {"trials": f"can't be read: {error}", "best": ""}
    front = f"Pareto front: {facts['Pareto front']}" if "Pareto front" in facts else ""
    return {"trials": facts["trials"], "best": facts.get("best", front)}


def show_best(chosen: argparse.Namespace) -> None:
    """Write what comes after a sweep, and say where."""
    from speakerlab.sweeping.results import pick_trial, study_folder
    from speakerlab.sweeping.study import load

    study = load(chosen.study, chosen.storage, chosen.output_dir)
    pick_trial(study, chosen.trial)
    folder = study_folder(chosen.study, chosen.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    conclude(study, folder, chosen.trial)


def retry_failed(chosen: argparse.Namespace) -> None:
    """Queue failed trials again; each goes on from its last checkpoint, if it has one."""
    from optuna.trial import TrialState

    from speakerlab.cli.members import SWEEP
    from speakerlab.cli.tables import show
    from speakerlab.sweeping.results import study_folder
    from speakerlab.sweeping.study import AGAIN_OF, FOLDER, counted, load

    study = load(chosen.study, chosen.storage, chosen.output_dir)
    if (study_folder(chosen.study, chosen.output_dir) / SWEEP).is_file():
        raise InputError(f"study {study.study_name} is of train.py -m, which goes on with none; sweep.py does")
    failed = {trial.number: trial for trial in counted(study.trials) if trial.state == TrialState.FAIL}
    for number in chosen.trial or ():
        if number not in failed:
            known = ", ".join(map(str, failed)) or "none"
            raise InputError(f"study {study.study_name}: trial {number} has not failed; failed: {known}")
    wanted = chosen.trial or list(failed)
    for number in wanted:
        trial = failed[number]
        again = {AGAIN_OF: number, FOLDER: str(trial.user_attrs.get(FOLDER, number))}
        study.enqueue_trial(trial.params, user_attrs=again)
    if not wanted:
        raise InputError(f"study {study.study_name}: no trial has failed")
    show(f"queued again: {', '.join(map(str, wanted))}; the sweep's own command runs them")


def sweep_trials(study, folder: Path):
    """A study as its report wants it. Hydra's plugin does not keep why a trial failed; its run does."""
    from optuna.trial import TrialState

    from speakerlab.cli.outcome import FILE, read_outcome
    from speakerlab.reports.sweep import SweepTrials
    from speakerlab.sweeping.results import objectives_of, run_folder
    from speakerlab.sweeping.study import REASON, counted

    trials, reasons = counted(study.get_trials(deepcopy=False)), {}
    for trial in trials:
        if trial.state == TrialState.FAIL:
            outcome = read_outcome(run_folder(trial, folder) / FILE)
            reasons[trial.number] = trial.user_attrs.get(REASON) or (outcome and outcome.error) or "killed"
    return SweepTrials(study, trials, objectives_of(study), reasons)


def conclude(study, folder: Path, number: int | None = None, made: Mapping[str, str] | None = None) -> None:
    """Write `best.yaml`, `report.html` and `tensorboard/` into a study's folder and say what came of it.

    Args:
        study: with whatever trials it has so far.
        folder: of the study.
        number: of the trial for `best.yaml`; None is the best.
        made: how the sweep was made: name -> words.
    """
    from speakerlab.cli.tables import show
    from speakerlab.reports.sweep import outcome, write_sweep_report
    from speakerlab.sweeping.best import write_best
    from speakerlab.sweeping.hparams import write_hparams

    sweep = sweep_trials(study, folder)
    lines, text = [f"{name:<12} {words}" for name, words in outcome(sweep).items()], ""
    if sweep.front:
        best = write_best(study, folder, number)
        text = best.read_text(encoding="utf-8")
        lines.append(f"as a config  python train.py experiment={best}")
    facts = {"folder": folder} | dict(made or {})
    lines.append(f"report       {write_sweep_report(folder, sweep, facts, text)}")
    write_hparams(study, folder)
    show(*lines, f"TensorBoard  tensorboard --logdir {folder}")


def conclude_multirun(folder: Path) -> None:
    """The same for a study of Hydra's Optuna plugin, which does not say what its values are."""
    from speakerlab.sweeping.study import OBJECTIVES, load

    study = load(folder)
    sweep = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    study.set_user_attr(OBJECTIVES, sweep["objectives"])
    conclude(study, folder, made={"command": shlex.join(["python", *sweep["command"]])})
