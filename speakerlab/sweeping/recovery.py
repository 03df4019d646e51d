"""Trials whose worker is gone: they are found, marked as failed and queued again once; none is lost.

Everything here may be done by several workers at once, or be cut off between any two steps: what one begins, the next
ends. A trial that two queue again at the same moment has two successors; the one with the lower number is run.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from speakerlab.sweeping.processes import is_held
from speakerlab.sweeping.study import AGAIN_OF, FOLDER, KILLS, POINT, REASON, STOPPED, WORKER, superseded

MOST_KILLS = 1  # after which a trial is not tried again: it may be what kills its worker
FIXED = "fixed_params"  # where Optuna keeps what a queued trial is to get
WORKERS = "workers"  # folder of the workers' locks


def recover(study: optuna.Study, folder: Path, grace: float, me: str = "") -> None:
    """Find what was left behind: by workers elsewhere that show no sign of life, by workers here that have ended, and
    by those that were killed before they could sign. Then queue again what may go on.

    Args:
        study: whose storage keeps heartbeats.
        folder: of the study on this machine.
        grace: seconds after which a trial that nobody signed is nobody's.
        me: the worker that calls; a process that looks at its own lock would lose it.
    """
    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER in trial.user_attrs:
            lost = trial.user_attrs[WORKER] != me and is_gone(folder, trial.user_attrs[WORKER])
        else:
            lost = datetime.now() - trial.datetime_start > timedelta(seconds=grace)
        if lost:
            with suppress(ValueError, UpdateFinishedTrialError):  # somebody else has done it
                study.tell(trial.number, state=TrialState.FAIL)
    queue_again(study)


def is_gone(folder: Path, worker: str) -> bool:
    """Whether a worker has ended, as its lock says; False where that can't be seen from here."""
    host, _, name = worker.partition(" ")
    path = folder / WORKERS / name
    return host == socket.gethostname() and path.is_file() and not is_held(path)


def queue_again(study: optuna.Study) -> None:
    """Queue every trial that was stopped, or killed for the first time, and has no successor yet."""
    trials = study.get_trials(deepcopy=False)
    gone = superseded(trials)
    for trial in trials:
        if trial.number not in gone and may_go_on(trial):
            killed = REASON not in trial.user_attrs
            study.enqueue_trial(
                {**trial.system_attrs.get(FIXED, {}), **trial.params},
                user_attrs={
                    AGAIN_OF: trial.number,
                    FOLDER: trial.user_attrs.get(FOLDER, str(trial.number)),
                    KILLS: trial.user_attrs.get(KILLS, 0) + killed,
                },
            )


def may_go_on(trial: FrozenTrial) -> bool:
    """Whether a trial ended through no fault of its own, as far as anybody can tell."""
    if trial.state != TrialState.FAIL:
        return False
    if REASON in trial.user_attrs:
        return trial.user_attrs[REASON] == STOPPED
    return trial.user_attrs.get(KILLS, 0) < MOST_KILLS


def is_double(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a trial goes on with the same one as an earlier trial, or is the same point to try."""
    origin = _origin(trial)
    return origin is not None and any(_origin(other) == origin for other in trials if other.number < trial.number)


def _origin(trial: FrozenTrial) -> tuple | None:
    for attribute in (AGAIN_OF, POINT):
        if attribute in trial.user_attrs:
            return attribute, trial.user_attrs[attribute]
    return None
