"""Studies: where one is kept, what it is a study of, and what became of its trials."""

import json
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from speakerlab import InputError

DATABASE = "study.db"
DEFINITION = "definition"  # of the study: what may not change as long as it goes on
OBJECTIVES = "objectives"  # of the study: what its values are, in their order
# User attributes of a trial.
FOLDER = "folder"  # of its run, in the study's folder: the number of the trial that began it
REASON = "reason"  # why it failed, in a line
AGAIN_OF = "again_of"  # number of the trial that this one goes on with
KILLS = "kills"  # of the trials that this one goes on with
POINT = "point"  # which of the points to try first it is
WORKER = "worker"  # who runs it: a host, and the name of a file in the study's folder that is locked meanwhile
OVERRIDES = "overrides"  # of its command line, beside those that all trials share
EPOCHS, SECONDS = "epochs", "seconds"  # of its training
STOPPED = "stopped"  # the reason of a trial that goes on in another, because somebody stopped the sweep
TWICE = "queued twice"  # the reason of a trial that is another one's double, and so is none
HEARTBEAT, GRACE = 30, 120  # seconds, where nobody says otherwise


def sweeps_folder(output_dir: str | Path = "outputs") -> Path:
    """Where the studies' folders are."""
    return Path(output_dir) / "sweeps"


def databases(sweeps: Path) -> list[Path]:
    """The files of all studies in SQLite: those of sweep.py, and a folder deeper those of train.py -m."""
    return sorted([*sweeps.glob(f"*/{DATABASE}"), *sweeps.glob(f"*/*/{DATABASE}")])


def load(study: str | Path, storage: str | None = None, output_dir: str | Path = "outputs") -> optuna.Study:
    """An existing study, to read.

    Args:
        study: its name, or its folder.
        storage: `postgresql://...`; None is the SQLite file in the study's folder.
        output_dir: that a name is looked for in.

    Raises:
        InputError: if there is none.
    """
    folder = Path(study) if (Path(study) / DATABASE).is_file() else sweeps_folder(output_dir) / str(study)
    if storage is None and not (folder / DATABASE).is_file():
        sweeps = sweeps_folder(output_dir)
        there = [str(path.parent.relative_to(sweeps)) for path in databases(sweeps)]
        known = f"there are: {', '.join(there)}" if there else "there is none"
        raise InputError(f"{study}: no study in {sweeps} ({known}); storage= or --storage names a database")
    opened = open_storage(storage or f"sqlite:///{folder / DATABASE}")
    names = optuna.get_all_study_names(opened)
    name = names[0] if storage is None and len(names) == 1 else Path(study).name  # the folder may have been renamed
    if name not in names:
        raise InputError(f"{name}: no study of this name in {shown_url(opened.url)}; there are: {', '.join(names)}")
    return optuna.load_study(study_name=name, storage=opened)


def study_names(storage: str) -> list[str]:
    """Of all studies in a database."""
    return sorted(optuna.get_all_study_names(open_storage(storage)))


def open_storage(url: str, heartbeat: int = HEARTBEAT, grace: int = GRACE) -> RDBStorage:
    """Optuna's storage in a database, which notes when a trial was last alive.

    Args:
        url: of the database.
        heartbeat: seconds between two notes.
        grace: seconds without one, after which a trial is dead.

    Raises:
        InputError: if the database can't be reached, or no driver for it is installed.
    """
    quiet_optuna()
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    for attempt in range(10):
        try:
            return RDBStorage(url, engine_kwargs=options, heartbeat_interval=heartbeat, grace_period=grace)
        except (ImportError, NoSuchModuleError) as error:
            raise InputError(f"{shown_url(url)}: {_no_driver(url)}") from error
        except ArgumentError as error:
            raise InputError("storage= must be like postgresql://user:password@host/database") from error
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            # Where two open a new database at once, one finds that the other has just made a table.
            cause = str(getattr(error, "orig", None) or error.__cause__ or error).strip()
            if attempt == 9 or not ("exist" in cause or "UNIQUE" in cause):
                raise InputError(f"{shown_url(url)}: {' '.join(cause.split())}") from error
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError


def _no_driver(url: str) -> str:
    if url.startswith("postgresql"):
        return "needs a driver: pip install 'speakerlab[postgresql]'"
    return "no driver for such a database is installed; storage=postgresql://user:password@host/database has one"


def shown_url(url: str) -> str:
    """A database's address without its password."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def quiet_optuna() -> None:
    """It tells of each trial, and that heartbeats and groups are new; this program asks and tells by itself."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")


def join(
    name: str, storage: RDBStorage, objectives: Sequence[str], directions: Sequence[str], definition: Mapping[str, dict]
) -> optuna.Study:
    """The study of this name: made, or found and continued if it is a study of the same thing.

    Args:
        name: of the study.
        storage: that it is or will be in.
        objectives: what a trial's values are.
        directions: "minimize" or "maximize", for each objective.
        definition: part -> key -> plain value: what the trials' values depend on.

    Raises:
        InputError: naming what differs from what the study was begun with.
    """
    study = optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)
    wanted = json.loads(json.dumps({"objective": {"objective": ",".join(objectives)}, **definition}))
    begun = bool(
        study.get_trials(deepcopy=False)
    )  # before the next look: who makes a study defines it, then adds to it
    if DEFINITION not in study.user_attrs:
        if begun:
            raise InputError(f"study={name} is there, but sweep.py did not begin it; give study=ANOTHER_NAME")
        study.set_user_attr(OBJECTIVES, list(objectives))
        study.set_user_attr(DEFINITION, wanted)
    difference = _difference(study.user_attrs[DEFINITION], wanted)  # read again: two may have made it at once
    if difference:
        raise InputError(f"study={name} was begun with {difference}; give study=ANOTHER_NAME for a new one")
    return study


def _difference(begun: Mapping[str, dict], wanted: Mapping[str, dict]) -> str:
    """The first thing that differs, in words; "" where nothing does. A key that is new in this version is none."""
    for part, values in begun.items():
        now = wanted.get(part, {})
        for key in values:
            if key not in now:
                return f"{key} in its {part}, which is missing now"
            if values[key] != now[key]:
                return f"{key}={values[key]}, not {now[key]}"
        for key in now:
            if key not in values and part not in ("choices", "config"):
                return f"no {key} in its {part}"
    return ""


def superseded(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the trials that go on in another trial, and so are no result of their own."""
    return {trial.user_attrs[AGAIN_OF] for trial in trials if AGAIN_OF in trial.user_attrs}


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that a sweep's number of trials means: each one once, however often it was stopped or killed."""
    gone = superseded(trials)
    return [trial for trial in trials if trial.number not in gone and trial.user_attrs.get(REASON) != TWICE]


def queue_points(study: optuna.Study, points: Sequence[Mapping[str, object]]) -> None:
    """Queue points to try first; those that the study has had are not queued again."""
    had = {trial.user_attrs.get(POINT) for trial in study.get_trials(deepcopy=False)}
    for point in points:
        name = json.dumps(point, sort_keys=True)
        if name not in had:
            study.enqueue_trial(dict(point), user_attrs={POINT: name})
            had.add(name)


def reason_of(trial: FrozenTrial) -> str | None:
    """Why a trial failed; None for one that did not."""
    if trial.state != TrialState.FAIL:
        return None
    return trial.user_attrs.get(REASON, "killed")
