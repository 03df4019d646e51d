"""What a study found, in the words of this program, whichever door it came through."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from speakerlab import InputError

# User attributes: of a study, what its values are; of a trial, its run's folder in the study's, why it failed, and the
# number of the trial that it goes on with.
DATABASE = "study.db"
OBJECTIVES, FOLDER, REASON, AGAIN_OF = "objectives", "folder", "reason", "again_of"


def load(study: str | Path, storage: str | None = None, output_dir: str | Path = "outputs") -> optuna.Study:
    """An existing study, to read.

    Args:
        study: its name, or its folder.
        storage: of a database; None is the SQLite file in the study's folder.
        output_dir: that a name is looked for in.

    Raises:
        InputError: if there is none.
    """
    folder = study_folder(study, output_dir)
    if storage is None and not (folder / DATABASE).is_file():
        there = sorted(str(path.parent) for path in Path(output_dir, "sweeps").rglob(DATABASE))
        raise InputError(f"{study}: no study of this name; there are: {', '.join(there) or 'none'}")
    storage = storage or f"sqlite:///{folder / DATABASE}"
    names = optuna.get_all_study_names(storage)
    name = names[0] if len(names) == 1 else Path(study).name
    if name not in names:
        raise InputError(f"{name}: no study of this name in the database; there are: {', '.join(names)}")
    return optuna.load_study(study_name=name, storage=storage)


def study_folder(study: str | Path, output_dir: str | Path = "outputs") -> Path:
    """Where a study's files lie, given by its folder or its name."""
    given = Path(study)
    return given if given.is_dir() else Path(output_dir, "sweeps", str(study))


def objectives_of(study: optuna.Study) -> list[str]:
    """Names of a study's values; `value`, `value_1` ... where nobody has said them."""
    count = len(study.directions)
    return list(study.user_attrs.get(OBJECTIVES) or [f"value_{i}" if i else "value" for i in range(count)])


def current_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Each trial once, though it was stopped or killed and went on as another."""
    trials = study.get_trials(deepcopy=False)
    gone = {trial.user_attrs[AGAIN_OF] for trial in trials if AGAIN_OF in trial.user_attrs}
    return [trial for trial in trials if trial.number not in gone]


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, best first; of several objectives those on the Pareto front, by the first objective."""
    found = study.best_trials if len(study.directions) > 1 else study.get_trials(states=(TrialState.COMPLETE,))
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    return sorted(found, key=lambda trial: (sign * trial.values[0], trial.number))


def pick_trial(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The complete trial of this number; None is the best.

    Raises:
        InputError: if there is no such trial.
    """
    complete = {trial.number: trial for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    if not complete:
        raise InputError(f"study {study.study_name}: no trial is complete")
    if number is None:
        return ranked(study)[0]
    if number not in complete:
        raise InputError(f"study {study.study_name}: trial {number} is not complete; there are {_listed(complete)}")
    return complete[number]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def run_folder(trial: FrozenTrial, folder: Path) -> Path:
    """Where a trial's run lies, below the study's folder."""
    return folder / str(trial.user_attrs.get(FOLDER, trial.number))


def command_of(trial: FrozenTrial, folder: Path) -> list[str] | None:
    """The arguments of `train.py` that a trial's run was begun with; None where its folder is not on this machine."""
    path = run_folder(trial, folder) / "command.txt"
    if not path.is_file():
        return None
    _, _, *words = shlex.split(path.read_text(encoding="utf-8").splitlines()[0])
    return words
