"""A worker: asks for a trial, runs it, tells what came of it, and so on until the study has its trials."""

import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from speakerlab.sweeping.hardware import Share
from speakerlab.sweeping.plan import COMPLETE, FAILED, KILLED, LOST, PRUNED, STOPPED, Begun, Ended, Event, Plan
from speakerlab.sweeping.processes import die_with_parent, hold, holding
from speakerlab.sweeping.recovery import WORKERS, is_double, queue_again, recover
from speakerlab.sweeping.searching import make_pruner, make_sampler
from speakerlab.sweeping.space import Value
from speakerlab.sweeping.study import (
    AGAIN_OF,
    EPOCHS,
    OVERRIDES,
    REASON,
    SECONDS,
    TWICE,
    WORKER,
    counted,
    open_storage,
    quiet_optuna,
)
from speakerlab.sweeping.study import STOPPED as GOES_ON
from speakerlab.sweeping.trial import TrialRun

ASKING = "asking.lock"  # in the study's folder: one worker of a machine at a time chooses its next trial
PAUSES = (1, 2, 5, 10, 30, 60, 60, 120)  # seconds between attempts at a database that is out of reach
LOOK_AGAIN = 2.0  # seconds, while all that is left to do is done by others
T = TypeVar("T")


def work(plan: Plan, share: Share, events: Connection, parent: int) -> None:
    """Run trials until the study has enough, the time is over, or SIGTERM comes; in a process of its own.

    Args:
        plan: of the sweep.
        share: of the machine.
        events: is sent what happens.
        parent: number of the process that started this one, and takes it along when it dies.
    """
    die_with_parent(parent)
    worker = Worker(plan, share, events.send)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the parent decides
    signal.signal(signal.SIGTERM, worker.stop)
    worker.run()


class Worker:
    """See `work`."""

    def __init__(self, plan: Plan, share: Share, tell: Callable[[Event], None]):
        self.plan = plan
        self.share = share
        self.tell = tell
        self.stopped = False
        self.lock = plan.folder / WORKERS / f"{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.name = f"{socket.gethostname()} {self.lock.name}"

    def stop(self, number: int, frame: object) -> None:
        self.stopped = True

    def stopping(self) -> bool:
        late = self.plan.deadline is not None and time.time() >= self.plan.deadline
        return self.stopped or late

    def run(self) -> None:
        plan = self.plan
        quiet_optuna()
        with hold(self.lock):
            self.storage = open_storage(plan.storage, plan.heartbeat, plan.grace)
            self.study = optuna.load_study(
                study_name=plan.study,
                storage=self.storage,
                sampler=make_sampler(plan.search),
                pruner=make_pruner(plan.pruning, plan.epochs, len(plan.objectives)),
            )
            while not self.stopping():
                with holding(plan.folder / ASKING):
                    trial = patiently(self.next_trial)
                if trial is not None:
                    self.run_trial(*trial)
                elif self.others_run():
                    time.sleep(LOOK_AGAIN)
                else:
                    break
            self.lock.unlink()

    def next_trial(self) -> tuple[optuna.Trial, dict[str, Value]] | None:
        """The next trial, signed by this worker, with its parameters; None where the study has enough of them."""
        recover(self.study, self.plan.folder, self.plan.grace, self.name)
        while True:
            trials = self.study.get_trials(deepcopy=False)
            begun = [trial for trial in counted(trials) if trial.state != TrialState.WAITING]
            if len(begun) >= self.plan.n_trials:
                return None
            trial = self.study.ask()
            with suppress(UpdateFinishedTrialError):  # a laptop slept just now: others gave it up, and it comes again
                self.storage.record_heartbeat(trial._trial_id)
                trial.set_user_attr(WORKER, self.name)
                if not is_double(self.storage.get_trial(trial._trial_id), trials):
                    params = self.plan.space.suggest(trial)
                    trial.set_user_attr(OVERRIDES, [f"{key}={value}" for key, value in params.items()])
                    return trial, params
                trial.set_user_attr(REASON, TWICE)
                self.study.tell(trial, state=TrialState.FAIL)

    def others_run(self) -> bool:
        """Whether somebody runs a trial, which may have to be taken over."""
        return bool(patiently(lambda: self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))))

    def run_trial(self, trial: optuna.Trial, params: dict[str, Value]) -> None:
        self.tell(Begun(trial.number, params, trial.user_attrs.get(AGAIN_OF)))
        ended = TrialRun(trial, params, self.storage, self.plan, self.share, self.tell, self.stopping).run()
        if ended.state != LOST:
            try:
                patiently(lambda: self.record(trial, ended))
            except (ValueError, UpdateFinishedTrialError):  # others have just given it up
                ended = ended._replace(state=LOST)
        if ended.state in (STOPPED, KILLED):
            patiently(lambda: queue_again(self.study))
        self.tell(ended)

    def record(self, trial: optuna.Trial, ended: Ended) -> None:
        """Write down how a trial ended."""
        if ended.state in (FAILED, STOPPED):
            trial.set_user_attr(REASON, ended.reason or GOES_ON)
        trial.set_user_attr(EPOCHS, ended.epochs)
        trial.set_user_attr(SECONDS, round(ended.seconds, 1))
        if ended.state == COMPLETE:
            self.study.tell(trial, ended.values)
        else:
            self.study.tell(trial, state=TrialState.PRUNED if ended.state == PRUNED else TrialState.FAIL)


def patiently(call: Callable[[], T]) -> T:
    """The call's result, tried again for some minutes where the database is out of reach."""
    for pause in PAUSES:
        with suppress(StorageInternalError, SQLAlchemyError):
            return call()
        time.sleep(pause)
    return call()
