"""Sweeps as a user starts them: real processes that train real networks, killed and stopped for real."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import optuna
import pytest
from databases import missing, postgresql
from optuna.trial import FrozenTrial, TrialState, create_trial
from processes import ROOT, clean_environment

from speakerlab.data import usable_cpus
from speakerlab.sweeping.measurements import measured
from speakerlab.sweeping.study import AGAIN_OF, EPOCHS, FOLDER, KILLS, REASON, STOPPED, WORKER, counted, load

pytestmark = pytest.mark.slow
two_cpus = pytest.mark.skipif(usable_cpus() < 2, reason="two workers need two CPUs")
MARGIN = "loss.margin=interval(0.1, 0.5)"
TIMEOUT = 600.0  # seconds, for whatever a test waits for


@pytest.fixture(scope="module")
def trials(folders, tiny) -> list[str]:
    """What every trial is given: seconds of training, with a checkpoint after each step."""
    return [
        *folders.overrides(),
        *tiny,
        "trainer.max_epochs=2",
        "scheduler=constant",
        "callbacks.checkpoints.every_minutes=0.000001",
    ]


@contextmanager
def started(cwd: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    """`python sweep.py ...` in a process group of its own, as in a terminal; its output is in `cwd/said`."""
    with open(cwd / "said", "a") as said:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "sweep.py"), "study=s", *arguments],
            cwd=cwd,
            env=clean_environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def swept(cwd: Path, *arguments: str, status: int = 0) -> str:
    """The same to its end; what it said."""
    (cwd / "said").write_text("")
    with started(cwd, *arguments) as process:
        process.wait(timeout=TIMEOUT)
    said = (cwd / "said").read_text()
    assert process.returncode == status, said
    return said


def wait_for(found: Callable[[], object], cwd: Path) -> object:
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + TIMEOUT
    while not (result := found()):
        assert time.monotonic() < deadline, (cwd / "said").read_text()
        time.sleep(0.2)
    return result


def study_in(cwd: Path, storage: str | None = None) -> optuna.Study:
    return load("s", storage, cwd / "outputs")


def training(cwd: Path, epoch: int, storage: str | None = None) -> FrozenTrial | None:
    """A running trial that has measured this epoch, if there is one."""
    if storage is None and not (cwd / "outputs/sweeps/s/study.db").is_file():
        return None
    try:
        study = study_in(cwd, storage)
    except ValueError:  # it is being made
        return None
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        run = cwd / "outputs/sweeps/s" / trial.user_attrs.get(FOLDER, "none")
        if WORKER in trial.user_attrs and len(measured(run)) >= epoch:
            return trial
    return None


def worker_of(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[WORKER].split()[1].split("_")[0])


def children(pid: int) -> list[int]:
    """Numbers of the processes that this one started and that still live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_accounted(study: optuna.Study, n_trials: int) -> None:
    """Every trial has ended, exactly so many count, and each that does not count goes on in another."""
    trials = study.trials
    assert all(trial.state.is_finished() for trial in trials), [trial.state for trial in trials]
    assert len(counted(trials)) == n_trials
    gone = {trial.number for trial in trials} - {trial.number for trial in counted(trials)}
    assert gone == {trial.user_attrs[AGAIN_OF] for trial in trials if AGAIN_OF in trial.user_attrs}


@two_cpus
def test_a_sweep_from_its_start_to_its_end(tmp_path, trials):
    given = [MARGIN, "optimizer.lr=tag(log, interval(1e-4, 1e-2))", *trials]
    points = "+sweep.points=[{loss.margin: 0.3}]"
    said = swept(tmp_path, *given, points, "n_trials=3", "workers=2", "startup_trials=1")
    study = study_in(tmp_path)
    assert_accounted(study, 3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert study.trials[0].params["loss.margin"] == 0.3
    for trial in study.trials:
        run = tmp_path / "outputs/sweeps/s" / str(trial.number)
        with open(run / "metrics/val_metrics.csv", newline="") as file:
            errors = [float(row["eer"]) for row in csv.DictReader(file)]
        assert trial.value == min(errors) and trial.user_attrs[FOLDER] == str(trial.number)
        assert trial.intermediate_values == {1: errors[0], 2: errors[1]} and trial.user_attrs[EPOCHS] == 2
        config = (run / "config.yaml").read_text()
        assert f"margin: {trial.params['loss.margin']}" in config and f"lr: {trial.params['optimizer.lr']}" in config
        assert json.loads((run / "status.json").read_text())["status"] == "finished"
        assert f"trial {trial.number}  EER" in said
    assert f"trial {study.best_trial.number}: {100 * study.best_value:.2f} %" in said and "3 trials: 3 complete" in said
    assert "finished after" in (tmp_path / "outputs/sweeps/s/logs/sweep.log").read_text()
    assert not list((tmp_path / "outputs/sweeps/s/workers").iterdir())

    # The same command has nothing left to do; more trials are more of the same study; another space is another study.
    assert "goes on: 3 of 3 trials are done" in swept(tmp_path, *given, points, "n_trials=3")
    assert "goes on: 3 of 4 trials are done" in swept(tmp_path, *given, points, "n_trials=4")
    assert_accounted(study_in(tmp_path), 4)
    refused = swept(tmp_path, *given, "loss.scale=interval(10, 20)", status=1)
    assert refused.startswith("error: study=s was begun with no loss.scale in its space") and refused.count("\n") == 1


@two_cpus
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_killed_workers_trial_goes_on_and_none_is_lost(tmp_path, trials, database):
    if database == "postgresql" and missing():
        pytest.skip(missing())
    with postgresql() if database == "postgresql" else nullcontext() as storage:
        given = [MARGIN, *trials, "trainer.max_epochs=12", "n_trials=3", "workers=2", "pruner=none"]
        given += [] if storage is None else [f"storage={storage}"]
        with started(tmp_path, *given) as process:
            victim = wait_for(lambda: training(tmp_path, 2, storage), tmp_path)
            worker = worker_of(victim)
            (train,) = children(worker)
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: not alive(train), tmp_path)
            assert process.wait(timeout=TIMEOUT) == 0, (tmp_path / "said").read_text()
        study = study_in(tmp_path, storage)
        assert_accounted(study, 3)
        (again,) = [trial for trial in study.trials if AGAIN_OF in trial.user_attrs]
        killed = study.trials[again.user_attrs[AGAIN_OF]]
    assert killed.number == victim.number and killed.state == TrialState.FAIL and REASON not in killed.user_attrs
    assert again.state == TrialState.COMPLETE and again.params == victim.params and again.user_attrs[KILLS] == 1
    folder = tmp_path / "outputs/sweeps/s" / str(victim.number)
    assert again.user_attrs[FOLDER] == str(victim.number) and not (folder.parent / str(again.number)).exists()
    assert "goes on from" in (folder / "logs/train.log").read_text()
    assert [row["epoch"] for row in measured(folder)] == list(range(1, 13))
    assert list(again.intermediate_values) == list(range(1, 13))
    said = (tmp_path / "said").read_text()
    assert "a worker was killed (SIGKILL); another takes its place" in said
    assert f"trial {again.number}  goes on with trial {victim.number}" in said


def test_a_killed_training_is_tried_once_more(tmp_path, trials):
    """Its worker lives: by the system where memory is short, or by somebody's hand."""
    given = [MARGIN, *trials, "trainer.max_epochs=100000", "n_trials=1"]
    with started(tmp_path, *given) as process:
        for epoch in (2, 4):
            victim = wait_for(lambda epoch=epoch: training(tmp_path, epoch), tmp_path)
            (train,) = wait_for(lambda victim=victim: children(worker_of(victim)), tmp_path)
            os.kill(train, signal.SIGKILL)
            wait_for(lambda victim=victim: study_in(tmp_path).trials[victim.number].state.is_finished(), tmp_path)
        assert process.wait(timeout=TIMEOUT) == 1
    first, second = study_in(tmp_path).trials
    assert_accounted(study_in(tmp_path), 1)
    assert REASON not in first.user_attrs and "killed from outside" in second.user_attrs[REASON]
    assert (second.user_attrs[AGAIN_OF], second.user_attrs[KILLS], second.params) == (0, 1, first.params)
    assert "goes on from" in (tmp_path / "outputs/sweeps/s/0/logs/train.log").read_text()
    said = (tmp_path / "said").read_text()
    assert "trial 0  killed from outside" in said and "it is tried once more" in said
    assert "trial 1  goes on with trial 0" in said and "trial 1  failed: killed from outside" in said


def test_a_killed_sweep_leaves_nothing_running_and_goes_on(tmp_path, trials):
    given = ["sweep=margin", *trials, "trainer.max_epochs=12", "n_trials=2", "pruner=none"]  # a space by its name
    with started(tmp_path, *given) as process:
        victim = wait_for(lambda: training(tmp_path, 2), tmp_path)
        (train,) = children(worker_of(victim))
        process.kill()
        wait_for(lambda: not alive(train) and not alive(worker_of(victim)), tmp_path)
    assert study_in(tmp_path).trials[victim.number].state == TrialState.RUNNING  # nobody could write that it ended
    said = swept(tmp_path, *given)
    assert f"goes on with trial {victim.number}" in said
    study = study_in(tmp_path)
    assert_accounted(study, 2)
    assert [trial.state.name for trial in counted(study.trials)] == ["COMPLETE"] * 2


@two_cpus
def test_ctrl_c_keeps_every_trial_for_the_same_command(tmp_path, trials):
    given = [MARGIN, *trials, "trainer.max_epochs=40", "n_trials=2", "workers=2", "pruner=none"]
    with started(tmp_path, *given) as process:
        wait_for(lambda: training(tmp_path, 2), tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of the group
        assert process.wait(timeout=TIMEOUT) == 130, (tmp_path / "said").read_text()
    said = (tmp_path / "said").read_text()
    assert said.splitlines()[-1] == "stopped and kept; the same command goes on from here" and "Traceback" not in said
    study = study_in(tmp_path)
    stopped = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    waiting = [trial for trial in study.trials if trial.state == TrialState.WAITING]
    assert {trial.user_attrs[REASON] for trial in stopped} == {STOPPED}
    assert {trial.number for trial in stopped} == {trial.user_attrs[AGAIN_OF] for trial in waiting}
    assert len(stopped) == len(waiting) >= 1 and all(trial.user_attrs[KILLS] == 0 for trial in waiting)
    kept = [tmp_path / "outputs/sweeps/s" / trial.user_attrs[FOLDER] for trial in stopped]
    assert "stopped" in [json.loads((run / "status.json").read_text())["status"] for run in kept if run.is_dir()]
    swept(tmp_path, *given)
    study = study_in(tmp_path)
    assert_accounted(study, 2)
    for trial in counted(study.trials):
        assert trial.state == TrialState.COMPLETE and list(trial.intermediate_values) == list(range(1, 41))


def test_a_worker_that_sleeps_too_long_loses_its_trial_to_another_command(tmp_path, trials):
    """As a laptop whose lid is shut: the same command elsewhere takes the trial over, and the sleeper notices."""
    given = [MARGIN, *trials, "trainer.max_epochs=30", "n_trials=1", "heartbeat=1", "grace=4"]
    with started(tmp_path, *given) as sleeper:
        worker = worker_of(wait_for(lambda: training(tmp_path, 1), tmp_path))
        (train,) = children(worker)
        for pid in (worker, train):
            os.kill(pid, signal.SIGSTOP)
        elsewhere = tmp_path / "elsewhere"  # with its own folders, but for the database
        elsewhere.mkdir()
        said = swept(elsewhere, *given, f"storage=sqlite:///{tmp_path}/outputs/sweeps/s/study.db")
        assert "trial 1  goes on with trial 0" in said and "1 trial: 1 complete" in said
        for pid in (train, worker):
            os.kill(pid, signal.SIGCONT)
        assert sleeper.wait(timeout=TIMEOUT) == 0, (tmp_path / "said").read_text()
    assert "trial 0  was taken over by others" in (tmp_path / "said").read_text() and not alive(train)
    assert_accounted(study_in(tmp_path), 1)


def test_a_time_limit_keeps_what_runs(tmp_path, trials):
    given = [MARGIN, *trials, "trainer.max_epochs=100000", "n_trials=1"]
    said = swept(tmp_path, *given, "hours=0.012")  # 43 s
    assert "the time is over; the same command goes on from here" in said
    study = study_in(tmp_path)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert study.trials[0].user_attrs[REASON] == STOPPED


def test_hopeless_trials_are_stopped(tmp_path, trials):
    """Beside trials that were better than any can be."""
    given = [MARGIN, *trials, "trainer.max_epochs=40", "pruning.startup_trials=1"]
    swept(tmp_path, *given, "n_trials=1")
    study = study_in(tmp_path)
    for _ in range(2):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=-1.0, intermediate_values={1: -1.0}))
    said = swept(tmp_path, *given, "n_trials=4", "pruning.warmup_epochs=0")
    last = study_in(tmp_path).trials[-1]
    assert last.number == 3 and last.state == TrialState.PRUNED and "trial 3  pruned at EER" in said
    assert len(last.intermediate_values) == last.user_attrs[EPOCHS] < 40
    status = json.loads((tmp_path / "outputs/sweeps/s/3/status.json").read_text())["status"]
    assert status == "stopped"


def test_failed_trials_are_recorded_and_the_sweep_goes_on(tmp_path, trials):
    """A batch of more speakers than there are, which only the trial finds out."""
    rest = [given for given in trials if not given.startswith("sampler.batch_size=")]
    points = "+sweep.points=[{sampler.speakers_per_batch: 100}, {sampler.speakers_per_batch: 2}]"
    given = ["sampler=speakers_x_utterances", "sampler.speakers_per_batch=choice(100, 2)", *rest, points]
    said = swept(tmp_path, *given, "n_trials=2", "objective=[eer,parameters]")
    failed, complete = study_in(tmp_path).trials
    assert failed.state == TrialState.FAIL and "100" in failed.user_attrs[REASON]
    assert f"trial 0  failed: {failed.user_attrs[REASON]}" in said and "1 complete, 1 failed" in said
    facts = json.loads((tmp_path / "outputs/sweeps/s/1/environment.json").read_text())
    assert complete.values[1] == facts["parameters"] > 1000

    (tmp_path / "all").mkdir()
    broken = [value for value in trials if not value.startswith("data.trials=")]
    said = swept(
        tmp_path / "all", MARGIN, *broken, "data.trials=/nowhere.txt", "n_trials=9", "max_failures=2", status=1
    )
    assert "error: the last 2 trials failed, the last one with:" in said and "/nowhere.txt" in said
    reasons = [trial.user_attrs.get(REASON) for trial in counted(study_in(tmp_path / "all").trials)]
    assert len([reason for reason in reasons if reason and "/nowhere.txt" in reason]) == 2
