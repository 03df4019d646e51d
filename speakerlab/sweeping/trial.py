"""One trial: a run of `train.py` in a process group of its own, watched from its start to its end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import optuna
from hydra.core.override_parser.types import Quote, QuotedString
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from speakerlab.sweeping.hardware import Share
from speakerlab.sweeping.measurements import OUTPUT, PARAMETERS, measured, values_of, why_it_ended
from speakerlab.sweeping.plan import (
    COMPLETE,
    FAILED,
    KILLED,
    LOST,
    PRUNED,
    STOPPED,
    Ended,
    Event,
    Measured,
    Plan,
    Training,
)
from speakerlab.sweeping.processes import die_with_parent, is_held, kill_group
from speakerlab.sweeping.recovery import MOST_KILLS
from speakerlab.sweeping.space import Value
from speakerlab.sweeping.study import FOLDER, KILLS

POLL = 0.5  # seconds
TO_STOP = 300.0  # seconds for a training to end its step, or its measurement, and write its checkpoint
TO_REACH = 1800.0  # seconds that the database may be out of reach while a trial runs
OUT_OF_REACH = (StorageInternalError, SQLAlchemyError)
CHECKPOINT = Path("checkpoints", "last.ckpt")
BY_REQUEST = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT)  # exit statuses


class TrialRun:
    """A trial that this worker runs.

    Args:
        trial: with its parameters.
        params: what it varies.
        storage: that keeps its heartbeat.
        plan: of the sweep.
        share: of the machine.
        tell: is given what happens.
        stopping: whether the sweep is to stop.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        params: dict[str, Value],
        storage: RDBStorage,
        plan: Plan,
        share: Share,
        tell: Callable[[Event], None],
        stopping: Callable[[], bool],
    ):
        self.trial = trial
        self.params = params
        self.storage = storage
        self.plan = plan
        self.share = share
        self.tell = tell
        self.stopping = stopping
        self.folder = self._choose_folder()
        self.ended_by: str | None = None  # PRUNED, STOPPED or LOST, once it was told to end
        self.kill_at = float("inf")
        self.epoch = 0  # the last that was reported
        self.beat_at = self.reached = time.monotonic()

    def run(self) -> Ended:
        """Train to the end, or to the point where it is pruned or the sweep is stopped."""
        began = time.monotonic()
        process = self._start()
        self.tell(Training(process.pid))
        try:
            while process.poll() is None:
                self._look(process)
                time.sleep(POLL)
        finally:
            kill_group(process.pid)  # other processes of the training, or all of it if this function was left
            process.wait()
        self.tell(Training(None))
        with suppress(*OUT_OF_REACH, UpdateFinishedTrialError):
            self._report()  # what came after the last look
        if self.ended_by is None and process.returncode in BY_REQUEST:
            time.sleep(2 * POLL)  # a cluster asks every process to stop; this one's turn may come a little later
            self.ended_by = STOPPED if self.stopping() else None
        return self._ended(process.returncode, time.monotonic() - began)

    def _choose_folder(self) -> Path:
        """Where it runs: with the trial that it goes on with, unless someone still trains there."""
        given = self.trial.user_attrs.get(FOLDER, str(self.trial.number))
        if is_held(self.plan.folder / given / "lock"):
            given = str(self.trial.number)
        self.trial.set_user_attr(FOLDER, given)
        return self.plan.folder / given

    def _start(self) -> subprocess.Popen:
        (self.folder / OUTPUT).parent.mkdir(parents=True, exist_ok=True)
        command = [*self.plan.command, *(f"{key}={value}" for key, value in self.params.items())]
        if (self.folder / CHECKPOINT).is_file():
            command.append(f"ckpt={_quoted(self.folder)}")
        else:
            command.append(f"folder={_quoted(self.folder)}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SPEAKERLAB_RUN_")}
        if self.share.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.share.gpus
        if self.share.threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self.share.threads))
        with open(self.folder / OUTPUT, "ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    def _look(self, process: subprocess.Popen) -> None:
        """Give a sign of life, report what was measured, and end the training if there is a reason to."""
        now = time.monotonic()
        if self.stopping() and self.ended_by is None:
            self._end(process, STOPPED)
        if now >= self.kill_at:
            kill_group(process.pid)
        try:
            if now >= self.beat_at:
                self._beat(process)
                self.beat_at = now + self.plan.heartbeat
            if self._report() and self.ended_by is None and self.trial.should_prune():
                self._end(process, PRUNED)
            self.reached = now
        except UpdateFinishedTrialError:
            self._give_up(process)
        except OUT_OF_REACH:  # a database that restarts does not end a day of training
            if now - self.reached > TO_REACH:
                raise

    def _beat(self, process: subprocess.Popen) -> None:
        """Note that the trial is alive, unless others have given it up meanwhile."""
        if self.storage.get_trial(self.trial._trial_id).state == TrialState.RUNNING:
            self.storage.record_heartbeat(self.trial._trial_id)
        else:
            self._give_up(process)

    def _give_up(self, process: subprocess.Popen) -> None:
        """Leave the trial to those who found it without a sign of life, as after a laptop's sleep."""
        self.ended_by = LOST
        kill_group(process.pid)

    def _report(self) -> bool:
        """Report the epochs that were measured since; whether a decision is due."""
        rows = [row for row in measured(self.folder) if row["epoch"] > self.epoch]
        name = next(name for name in self.plan.objectives if name != PARAMETERS)
        for row in rows:
            if len(self.plan.objectives) == 1:
                self.trial.report(row[name], int(row["epoch"]))
            self.epoch = int(row["epoch"])
            self.tell(Measured(self.trial.number, self.epoch, row[name]))
        return bool(rows) and self.epoch < self.plan.epochs and len(self.plan.objectives) == 1

    def _end(self, process: subprocess.Popen, reason: str) -> None:
        """As Ctrl-C would: the training ends its step and keeps itself. Its leader alone is asked, which tells the
        others."""
        self.ended_by = reason
        self.kill_at = time.monotonic() + TO_STOP
        process.send_signal(signal.SIGTERM)

    def _ended(self, status: int, seconds: float) -> Ended:
        values, reason = [], ""
        if status == 0 and self.ended_by != LOST:
            try:
                values = values_of(self.folder, self.plan.objectives, self.plan.directions)
                state = COMPLETE
            except LookupError as error:
                state, reason = FAILED, str(error)
        elif self.ended_by is not None:
            state = self.ended_by
        else:
            again = status == -signal.SIGKILL and self.trial.user_attrs.get(KILLS, 0) < MOST_KILLS
            state, reason = KILLED if again else FAILED, why_it_ended(self.folder, status)
        epochs = max([int(row["epoch"]) for row in measured(self.folder)], default=0)
        return Ended(self.trial.number, state, self.params, values, reason, epochs, seconds)


def _quoted(path: Path) -> str:
    """A path as Hydra's command line takes it, whatever is in it."""
    return QuotedString(str(path), Quote.single).with_quotes()
