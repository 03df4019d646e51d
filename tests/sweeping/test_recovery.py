"""What becomes of trials whose worker is gone: a real database, real locks of real processes."""

import socket
import time

import optuna
import pytest
from holders import HOLDER, python
from optuna.trial import TrialState

from speakerlab.sweeping.recovery import is_double, is_gone, may_go_on, queue_again, recover
from speakerlab.sweeping.study import AGAIN_OF, FOLDER, KILLS, REASON, STOPPED, WORKER, counted, join, open_storage

HERE = socket.gethostname()


@pytest.fixture
def storage(tmp_path):
    return open_storage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat=1, grace=2)


@pytest.fixture
def study(storage):
    return join("s", storage, ["eer"], ["minimize"], {})


def ask(study, storage, worker: str | None) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    storage.record_heartbeat(trial._trial_id)
    if worker is not None:
        trial.set_user_attr(WORKER, worker)
    return trial


def states(study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_killed_workers_trial_is_queued_again_at_once(study, storage, tmp_path):
    holder = python(HOLDER, str(tmp_path / "workers" / "1_a"))
    assert holder.stdout.readline() == "held\n"
    trial = ask(study, storage, f"{HERE} 1_a")
    recover(study, tmp_path, 1000)
    assert states(study) == ["RUNNING"]
    holder.kill()
    holder.communicate()
    recover(study, tmp_path, 1000)
    assert states(study) == ["FAIL", "WAITING"]
    again = study.ask()
    assert again.number == 1 and again.suggest_float("x", 0, 1) == trial.params["x"]
    assert again.user_attrs == {AGAIN_OF: 0, FOLDER: "0", KILLS: 1}
    recover(study, tmp_path, 1000)
    assert states(study) == ["FAIL", "RUNNING"]


def test_a_worker_elsewhere_is_known_by_its_heartbeat_alone(study, storage, tmp_path):
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "1_a").touch()  # nobody holds it
    ask(study, storage, "elsewhere 1_a")
    ask(study, storage, f"{HERE} 2_b")  # no such file: another machine of the same name
    recover(study, tmp_path, 1000)
    assert states(study) == ["RUNNING", "RUNNING"]
    assert not is_gone(tmp_path, "elsewhere 1_a") and is_gone(tmp_path, f"{HERE} 1_a")
    deadline = time.monotonic() + 30
    while states(study) != ["FAIL", "FAIL", "WAITING", "WAITING"]:
        assert time.monotonic() < deadline
        time.sleep(0.3)
        recover(study, tmp_path, 1000)


def test_a_trial_that_nobody_signed_is_found(study, tmp_path):
    """Its worker was killed between asking and the first sign of life."""
    study.ask()
    recover(study, tmp_path, 1000)
    assert states(study) == ["RUNNING"]
    recover(study, tmp_path, -1)
    assert states(study) == ["FAIL", "WAITING"]


def test_a_point_is_kept_though_its_worker_died_before_it_used_it(study, tmp_path):
    study.enqueue_trial({"x": 0.25})
    study.ask()
    recover(study, tmp_path, -1)
    assert study.ask().suggest_float("x", 0, 1) == 0.25


def test_a_second_kill_ends_a_trial_and_a_stop_does_not(study, storage, tmp_path):
    for round in range(4):  # stopped as often as somebody likes
        trial = ask(study, storage, "elsewhere 1")
        assert trial.number == round and trial.user_attrs.get(KILLS, 0) == 0
        trial.set_user_attr(FOLDER, "0")
        trial.set_user_attr(REASON, STOPPED)
        study.tell(trial, state=TrialState.FAIL)
        queue_again(study)
    for kill in range(2):
        trial = study.ask()
        assert trial.number == 4 + kill and trial.user_attrs[KILLS] == kill and trial.user_attrs[FOLDER] == "0"
        study.tell(trial, state=TrialState.FAIL)
        queue_again(study)
    assert states(study) == ["FAIL"] * 6
    (last,) = counted(study.trials)
    assert last.number == 5 and not may_go_on(last)


def test_a_failed_trial_is_not_tried_again(study, storage):
    trial = ask(study, storage, "elsewhere 1")
    trial.set_user_attr(REASON, "out of memory")
    study.tell(trial, state=TrialState.FAIL)
    queue_again(study)
    assert states(study) == ["FAIL"]


def test_of_two_successors_the_first_is_run(study, storage):
    """Two machines queue it again at the same moment."""
    trial = ask(study, storage, "elsewhere 1")
    study.tell(trial, state=TrialState.FAIL)
    for _ in range(2):
        study.enqueue_trial(trial.params, user_attrs={AGAIN_OF: 0, KILLS: 1})
    trials = study.trials
    assert [is_double(trial, trials) for trial in trials] == [False, False, True]


RACER = """
import sys
from pathlib import Path
from speakerlab.sweeping.recovery import recover
from speakerlab.sweeping.study import load
study = load("s", sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
recover(study, Path(sys.argv[2]), -1)
"""


def test_many_that_recover_at_once_lose_nothing(study, storage, tmp_path):
    for _ in range(5):
        study.ask()
    racers = [python(RACER, f"sqlite:///{tmp_path}/study.db", str(tmp_path)) for _ in range(3)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=120)
        assert racer.returncode == 0
    trials = study.trials
    kept = [trial for trial in trials if trial.state == TrialState.WAITING and not is_double(trial, trials)]
    assert sorted(trial.user_attrs[AGAIN_OF] for trial in kept) == [0, 1, 2, 3, 4]
