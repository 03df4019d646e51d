"""What is read of a study, against the study's own values."""

import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from studies import FAILS, TRIALS, make_study, write_command

from speakerlab import InputError
from speakerlab.sweeping.results import (
    command_of,
    objectives_of,
    pick_trial,
    ranked,
    run_folder,
)
from speakerlab.sweeping.study import AGAIN_OF, counted, load


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[optuna.Study, Path]:
    folder = tmp_path_factory.mktemp("sweeps") / "one"
    return make_study(folder), folder


@pytest.fixture
def one(made) -> optuna.Study:
    return made[0]


def complete(study) -> list:
    return study.get_trials(states=(TrialState.COMPLETE,))


def test_the_best_come_first(one):
    values = [trial.value for trial in complete(one)]
    assert [trial.value for trial in ranked(one)] == sorted(values)
    assert pick_trial(one, None).number == one.best_trial.number
    assert pick_trial(one, 0).number == 0


def test_of_what_is_to_grow_the_largest(tmp_path):
    study = make_study(tmp_path / "accuracy", direction="maximize")
    assert pick_trial(study, None).value == max(trial.value for trial in complete(study))
    assert objectives_of(study) == ["accuracy"]


def test_the_front_is_what_nothing_dominates(tmp_path):
    study = make_study(tmp_path / "two", two=True)
    values = np.array([trial.values for trial in complete(study)])
    better = (values[:, None] <= values).all(2) & (values[:, None] < values).any(2)
    free = [trial.number for trial, row in zip(complete(study), better.T, strict=True) if not row.any()]
    assert sorted(trial.number for trial in ranked(study)) == free
    assert [trial.values[0] for trial in ranked(study)] == sorted(trial.values[0] for trial in ranked(study))


def test_no_such_trial(one, tmp_path):
    with pytest.raises(InputError, match=rf"trial {FAILS} is not complete; there are 0, 1"):
        pick_trial(one, FAILS)
    with pytest.raises(InputError, match="no trial is complete"):
        pick_trial(optuna.create_study(), None)


def test_a_trial_that_went_on_counts_once(tmp_path):
    study = make_study(tmp_path / "again")
    study.enqueue_trial(study.trials[FAILS].params, user_attrs={AGAIN_OF: FAILS})
    numbers = [trial.number for trial in counted(study.trials)]
    assert FAILS not in numbers and len(numbers) == TRIALS and numbers[-1] == TRIALS


def test_a_study_is_found_by_name_and_by_folder(made, tmp_path):
    one, folder = made
    by_folder = load(folder)
    shutil.copytree(folder, tmp_path / "sweeps" / "one")
    by_name = load("one", output_dir=tmp_path)
    assert by_folder.best_trial.number == by_name.best_trial.number == one.best_trial.number
    with pytest.raises(InputError, match=r"tow: no study in .*sweeps \(there are: one\)"):
        load("tow", output_dir=tmp_path)


def test_the_command_of_a_run(one, tmp_path):
    trial = one.trials[3]
    assert command_of(trial, tmp_path) is None
    write_command(tmp_path, trial, "model=ecapa", "data.root=/a b")
    assert run_folder(trial, tmp_path) == tmp_path / "3"
    assert command_of(trial, tmp_path)[:2] == ["model=ecapa", "data.root=/a b"]
