"""What a study found, in the words of this program, whichever door it came through."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from speakerlab import InputError
from speakerlab.sweeping.study import DATABASE, FOLDER, OBJECTIVES, sweeps_folder


def study_folder(study: str | Path, output_dir: str | Path = "outputs") -> Path:
    """Where a study's files lie, given by its folder or its name."""
    given = Path(study)
    is_folder = (given / DATABASE).is_file() or (given / "sweep.json").is_file()
    return given if is_folder else sweeps_folder(output_dir) / str(study)


def objectives_of(study: optuna.Study) -> list[str]:
    """Names of a study's values; `value`, `value_1` ... where nobody has said them."""
    count = len(study.directions)
    return list(study.user_attrs.get(OBJECTIVES) or [f"value_{i}" if i else "value" for i in range(count)])


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, best first; of several objectives those on the Pareto front, by the first objective."""
    found = study.best_trials if len(study.directions) > 1 else complete_trials(study)
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    return sorted(found, key=lambda trial: (sign * trial.values[0], trial.number))


def pick_trial(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The complete trial of this number; None is the best.

    Raises:
        InputError: if there is no such trial.
    """
    complete = {trial.number: trial for trial in complete_trials(study)}
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
