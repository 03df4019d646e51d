"""What `sweep.py` prints: where it begins, a line a trial, and what came of it."""

import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from speakerlab import InputError
from speakerlab.cli.sweeping import Sweep, written
from speakerlab.data.amounts import duration
from speakerlab.record import FILE_ONLY, log_path
from speakerlab.reports.metric_names import metric_name, metric_value
from speakerlab.sweeping.measurements import PARAMETERS
from speakerlab.sweeping.plan import COMPLETE, FAILED, KILLED, LOST, PRUNED, Begun, Ended, Event, Measured
from speakerlab.sweeping.results import ranked
from speakerlab.sweeping.space import Value, described
from speakerlab.sweeping.study import DATABASE, SECONDS, counted, shown_url

EVERY = 60.0  # seconds between lines about a trial that goes on
log = logging.getLogger("speakerlab")


class SweepProgress:
    """Says how a sweep goes, on the terminal and in its log."""

    def __init__(self, sweep: Sweep):
        self.plan, self.shares, self.study, self.notes = sweep
        self.first = next(name for name in self.plan.objectives if name != PARAMETERS)  # is measured each epoch
        self.last: dict[int, Measured] = {}  # of each trial
        self.said: dict[int, float] = {}  # when each trial last had a line

    def begin(self) -> None:
        """Study, space and what the workers have."""
        trials = counted(self.study.get_trials(deepcopy=False))
        done = [trial for trial in trials if trial.state.is_finished()]
        fresh = all(trial.state == TrialState.WAITING for trial in trials)
        what = "begins" if fresh else f"goes on: {len(done)} of {self.plan.n_trials} trials are done"
        file = self.plan.folder / DATABASE
        place = _short(file) if self.plan.storage == f"sqlite:///{file}" else shown_url(self.plan.storage)
        log.info(f"study {self.plan.study} {what}; {place}")
        log.log(FILE_ONLY, f"trials: {' '.join(self.plan.command)}")
        for parameter in self.plan.space:
            when = f"  when {' or '.join(map(str, parameter.when))}" if parameter.when else ""
            log.info(f"  {parameter.key} = {described(parameter)}{when}")
        share = self.shares[0]
        threads = "" if share.threads is None else f", {share.threads} CPU thread{'s' * (share.threads > 1)} each"
        gpus = "" if share.gpus is None else f", GPUs {' | '.join(str(share.gpus) for share in self.shares)}"
        workers = f"{len(self.shares)} worker{'s' * (len(self.shares) > 1)}"
        log.info(f"{workers}{threads}{gpus}; runs in {_short(self.plan.folder)}")
        for note in self.notes:
            log.info(note)

    def tell(self, event: Event | str) -> None:
        """One event, in a line or none."""
        now = time.monotonic()
        if isinstance(event, str):
            log.info(event)
        elif isinstance(event, Begun):
            self.said[event.number] = now
            again = event.again_of is not None
            line = f"goes on with trial {event.again_of}" if again else "begins"
            log.log(logging.INFO if again else FILE_ONLY, f"trial {event.number}  {line}  {params_line(event.params)}")
        elif isinstance(event, Measured):
            self.last[event.number] = event
            due = now - self.said.get(event.number, now) >= EVERY
            if due:
                self.said[event.number] = now
            value = self.shown(event.value)
            line = f"trial {event.number}  epoch {event.epoch} of {self.plan.epochs}: {value}"
            log.log(logging.INFO if due else FILE_ONLY, line)
        elif isinstance(event, Ended):
            log.info(f"{self.line(event)} | {self.standing()}")

    def shown(self, value: float, name: str | None = None) -> str:
        """A value with its name: `EER 1.23 %`."""
        name = name or self.first
        return f"{metric_name(name)} {metric_value(name, value)}"

    def line(self, ended: Ended) -> str:
        """How a trial ended, with what parameters, after how long."""
        last = self.last.get(ended.number)
        at = f" at {self.shown(last.value)}" if last is not None else ""
        if ended.state == COMPLETE:
            what = ", ".join(self.shown(value, name) for name, value in zip(self.plan.objectives, ended.values))
        elif ended.state == PRUNED:
            what = f"pruned{at}"
        elif ended.state == FAILED:
            what = f"failed: {ended.reason}"
        elif ended.state == KILLED:
            what = f"{ended.reason}; it is tried once more"
        elif ended.state == LOST:
            what = "was taken over by others, who heard nothing of it for too long"
        else:
            what = f"stopped{at} and kept"
        epochs = f"{ended.epochs} epoch{'s' * (ended.epochs != 1)}"
        return f"trial {ended.number}  {what}  {params_line(ended.params)}  {epochs}, {duration(ended.seconds)}"

    def standing(self) -> str:
        """The best so far, how many trials are done, and the time that the others may take."""
        trials = counted(self.study.get_trials(deepcopy=False))
        done = [trial for trial in trials if trial.state.is_finished()]
        parts = [f"{len(done)} of {self.plan.n_trials}"]
        best = ranked(self.study)
        if best and len(self.plan.objectives) == 1:
            parts.insert(0, f"best {metric_value(self.first, best[0].value)} (trial {best[0].number})")
        elif best:
            parts.insert(0, f"{len(best)} on the Pareto front")
        left = self.plan.n_trials - len(done)
        took = [trial.user_attrs[SECONDS] for trial in done if SECONDS in trial.user_attrs]
        if left > 0 and took:
            at_once = max(sum(trial.state == TrialState.RUNNING for trial in trials), len(self.shares))
            parts.append(f"about {duration(left * sum(took) / len(took) / at_once)} left")
        return ", ".join(parts)

    def end(self, stopped_by: int) -> None:
        """What came of it; exits with the status that shells give to a process ended by that signal.

        Raises:
            InputError: if the study is through and no trial was completed.
        """
        trials = counted(self.study.get_trials(deepcopy=False))
        log.info(f"study {self.plan.study} has {summary(trials)}")
        complete = any(trial.state == TrialState.COMPLETE for trial in trials)
        done = sum(trial.state.is_finished() for trial in trials)
        if stopped_by:
            log.info("stopped and kept; the same command goes on from here")
            sys.exit(128 + stopped_by)
        if complete:
            from speakerlab.cli.sweep import conclude  # late: it draws

            conclude(self.study, _short(self.plan.folder), made={"trials": shlex.join(self.plan.command)})
        if done < self.plan.n_trials:
            log.info("the time is over; the same command goes on from here")
        elif not complete:
            raise InputError(f"no trial was completed; {log_path(self.plan.folder, 'sweep')} says why")


def _short(path: Path) -> Path:
    """From the working directory, where it is below that."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def summary(trials: Sequence[FrozenTrial]) -> str:
    """Trials by what became of them: `20 trials: 12 complete, 7 pruned, 1 failed`."""
    names = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }
    counts = {name: sum(trial.state == state for trial in trials) for state, name in names.items()}
    return f"{len(trials)} trial{'s' * (len(trials) != 1)}: " + (
        ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "none yet"
    )


def params_line(params: dict[str, Value]) -> str:
    """Parameters in a line, numbers to four digits.

    >>> params_line({"loss": "aam", "optimizer.lr": 0.00123456})
    'loss=aam optimizer.lr=0.001235'
    """
    return " ".join(written({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in params.items()}))
