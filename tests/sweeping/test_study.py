"""Studies in real SQLite files."""

import json
import threading

import optuna
import pytest

from speakerlab import InputError
from speakerlab.sweeping.study import (
    AGAIN_OF,
    POINT,
    REASON,
    TWICE,
    counted,
    join,
    load,
    open_storage,
    queue_points,
    reason_of,
    shown_url,
    superseded,
)

DEFINITION = {"space": {"x": "interval(0, 1)"}, "config": {"trainer.max_epochs": 5}}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "sweeps" / "margin").mkdir(parents=True)
    storage = open_storage(f"sqlite:///{tmp_path / 'sweeps' / 'margin' / 'study.db'}")
    return join("margin", storage, ["eer"], ["minimize"], DEFINITION)


def one_of_hydra(sweeps):
    """A database where `train.py -m sweep=margin` has its own."""
    (sweeps / "margin" / "2026-01-31_12-00-00").mkdir(parents=True)
    return open_storage(f"sqlite:///{sweeps}/margin/2026-01-31_12-00-00/study.db")


def ended(study, value=None, **attributes):
    """A trial with this value, or a failed one."""
    trial = study.ask()
    for name, attribute in attributes.items():
        trial.set_user_attr(name, attribute)
    state = optuna.trial.TrialState.FAIL if value is None else None
    study.tell(trial, value, state=state)
    return trial.number


def test_a_study_is_found_by_name_and_by_folder(study, tmp_path, monkeypatch):
    ended(study, 0.25)
    folder = tmp_path / "sweeps" / "margin"
    for found in (load("margin", output_dir=tmp_path), load(folder), load("margin", f"sqlite:///{folder}/study.db")):
        assert found.study_name == "margin" and found.best_value == 0.25
    renamed = folder.rename(tmp_path / "sweeps" / "other")
    assert load(renamed).best_value == load("other", output_dir=tmp_path).best_value == 0.25
    with pytest.raises(InputError, match=r"margin: no study in .* \(there are: other\)"):
        load("margin", output_dir=tmp_path)
    join("margin", one_of_hydra(tmp_path / "sweeps"), ["eer"], ["minimize"], DEFINITION)
    with pytest.raises(InputError, match=r"margin: no study in .* \(there are: margin/2026-01-31_12-00-00, other\)"):
        load("margin", output_dir=tmp_path)
    with pytest.raises(InputError, match=r"x: no study of this name in .*; there are: margin"):
        load("x", f"sqlite:///{renamed}/study.db")


@pytest.mark.parametrize(
    "objectives, space, config, expected",
    [
        (["eer", "parameters"], {"x": "interval(0, 1)"}, 5, "objective=eer, not eer,parameters"),
        (["min_dcf_0.01"], {"x": "interval(0, 1)"}, 5, "objective=eer, not min_dcf_0.01"),
        (["eer"], {"x": "a,b"}, 5, "x=interval(0, 1), not a,b"),
        (["eer"], {"x": "interval(0, 1)", "y": "a,b"}, 5, "no y in its space"),
        (["eer"], {}, 5, "x in its space, which is missing now"),
        (["eer"], {"x": "interval(0, 1)"}, 10, "trainer.max_epochs=5, not 10"),
    ],
)
def test_another_thing_is_refused_under_the_same_name(study, objectives, space, config, expected):
    definition = {"space": space, "config": {"trainer.max_epochs": config}}
    with pytest.raises(InputError) as caught:
        join("margin", study._storage._backend, objectives, ["minimize"] * len(objectives), definition)
    message = str(caught.value)
    assert message.startswith("study=margin was begun with") and expected in message and "\n" not in message
    assert "study=ANOTHER_NAME" in message


def test_the_same_thing_joins_and_a_new_key_of_the_config_is_no_difference(study):
    more = {**DEFINITION, "config": {**DEFINITION["config"], "new": 1}}
    assert join("margin", study._storage._backend, ["eer"], ["minimize"], more)._study_id == study._study_id


def test_a_study_that_others_began_is_left_alone(study):
    storage = study._storage._backend
    theirs = optuna.create_study(study_name="theirs", storage=storage)
    theirs.tell(theirs.ask(), 0.5)
    with pytest.raises(InputError, match="study=theirs is there, but sweep.py did not begin it"):
        join("theirs", storage, ["eer"], ["minimize"], DEFINITION)
    assert theirs.user_attrs == {} and len(theirs.trials) == 1


def test_databases_that_cant_be_used_are_refused_in_a_line(tmp_path):
    for url, expected in [
        ("postgresql://me:secret@127.0.0.1:1/sweeps", "postgresql+psycopg://me:***@127.0.0.1:1/sweeps: "),
        ("nonsense", "storage= must be like postgresql://"),
        ("oracle://a@b/c", "no driver for such a database"),
        ("nothing://a@b/c", "no driver for such a database"),
        (f"sqlite:///{tmp_path}/nowhere/study.db", "unable to open database file"),
    ]:
        with pytest.raises(InputError) as caught:
            open_storage(url)
        assert expected in str(caught.value) and "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert shown_url("postgresql://me:secret@host/sweeps") == "postgresql://me:***@host/sweeps"


def test_a_new_database_may_be_opened_by_several_at_once(tmp_path):
    """Each makes the tables, or finds that another just has."""
    faults = []

    def open_it():
        try:
            storage = open_storage(f"sqlite:///{tmp_path}/study.db")
            join("together", storage, ["eer"], ["minimize"], DEFINITION)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert optuna.get_all_study_names(f"sqlite:///{tmp_path}/study.db") == ["together"]


def test_a_trial_counts_once_however_often_it_was_stopped(study):
    first = ended(study)
    second = ended(study, **{AGAIN_OF: first})
    third = ended(study, 0.5, **{AGAIN_OF: second})
    double = ended(study, **{AGAIN_OF: second, REASON: TWICE})
    other = ended(study, 0.25)
    failed = ended(study, **{REASON: "out of memory"})
    trials = study.trials
    assert superseded(trials) == {first, second} and double == 3
    assert [trial.number for trial in counted(trials)] == [third, other, failed]
    assert [reason_of(trial) for trial in trials] == ["killed", "killed", None, TWICE, None, "out of memory"]


def test_points_are_queued_once(study):
    points = [{"x": 0.1}, {"x": 0.2, "y": "a"}]
    queue_points(study, points)
    queue_points(study, [*points, {"y": "a", "x": 0.2}, {"x": 0.3}])
    assert [json.loads(trial.user_attrs[POINT]) for trial in study.trials] == [*points, {"x": 0.3}]
    trial = study.ask()
    assert trial.suggest_float("x", 0, 1) == 0.1 and trial.number == 0
