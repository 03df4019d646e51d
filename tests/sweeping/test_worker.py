"""How a worker comes by its next trial, on a real database."""

import pytest
from optuna.trial import TrialState

from speakerlab.sweeping.hardware import Share
from speakerlab.sweeping.plan import Plan
from speakerlab.sweeping.recovery import queue_again
from speakerlab.sweeping.searching import Pruning, Search
from speakerlab.sweeping.space import read_space
from speakerlab.sweeping.study import AGAIN_OF, OVERRIDES, WORKER, join, open_storage, queue_points
from speakerlab.sweeping.worker import Worker


@pytest.fixture
def worker(tmp_path) -> Worker:
    """Of a study of two trials."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    space, _ = read_space({"x": "interval(0, 1)"}, [])
    search, pruning = Search("random", 0, 1), Pruning("none", 0, 0, 0, 3)
    rest = {"n_trials": 2, "epochs": 1, "search": search, "pruning": pruning, "heartbeat": 30, "grace": 120}
    made = Plan("s", url, tmp_path, (), space, ("eer",), ("minimize",), deadline=None, **rest)
    found = Worker(made, Share(None, None), lambda event: None)
    found.storage = open_storage(url)
    found.study = join("s", found.storage, ["eer"], ["minimize"], {})
    return found


def test_points_come_first_and_the_number_of_trials_is_kept(worker):
    queue_points(worker.study, [{"x": 0.25}])
    trial, params = worker.next_trial()
    assert params == {"x": 0.25} and trial.number == 0
    assert worker.study.trials[0].user_attrs[WORKER] == worker.name
    assert worker.study.trials[0].user_attrs[OVERRIDES] == ["x=0.25"]
    assert worker.next_trial()[0].number == 1 and worker.next_trial() is None


def test_a_double_is_passed_over(worker):
    """Two machines queued a point each."""
    queue_points(worker.study, [{"x": 0.25}])
    worker.study.enqueue_trial({"x": 0.25}, user_attrs={"point": worker.study.trials[0].user_attrs["point"]})
    assert worker.next_trial()[0].number == 0
    trial, params = worker.next_trial()
    assert trial.number == 2 and params != {"x": 0.25} and worker.study.trials[1].state == TrialState.FAIL


def test_a_trial_that_others_gave_up_before_it_was_signed_comes_again(worker, monkeypatch):
    """The machine slept in between."""
    beat, slept = worker.storage.record_heartbeat, []

    def sleepy(trial_id: int) -> None:
        beat(trial_id)
        if not slept:
            slept.append(trial_id)
            worker.study.tell(0, state=TrialState.FAIL)
            queue_again(worker.study)

    monkeypatch.setattr(worker.storage, "record_heartbeat", sleepy)
    trial, _ = worker.next_trial()
    assert trial.number == 1 and trial.user_attrs[AGAIN_OF] == 0
