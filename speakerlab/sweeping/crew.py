"""The workers of one machine: started, listened to, replaced when they are killed, and stopped together."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import optuna

from speakerlab import InputError
from speakerlab.sweeping.hardware import Share
from speakerlab.sweeping.plan import FAILED, KILLED, Begun, Ended, Event, Plan, Training
from speakerlab.sweeping.processes import kill_group
from speakerlab.sweeping.recovery import recover
from speakerlab.sweeping.study import open_storage
from speakerlab.sweeping.worker import work

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Member:
    """A worker's process, what it sends, the process group that it trains in, and whether it ever had a trial."""

    process: SpawnProcess
    events: Connection
    share: Share
    leader: int | None = None
    had_trial: bool = False


class Crew:
    """Runs a sweep's workers; see `run`.

    Args:
        plan: of the sweep.
        shares: of the machine, one a worker.
        most_failures: trials in a row that may fail before the sweep stops.
        tell: is given what happens.
    """

    def __init__(self, plan: Plan, shares: Sequence[Share], most_failures: int, tell: Callable[[Event | str], None]):
        self.plan = plan
        self.shares = shares
        self.most_failures = most_failures
        self.tell = tell
        self.members: list[Member] = []
        self.failures: list[Ended] = []  # in a row
        self.signals: list[int] = []
        self.asked = 0  # how often the workers were told to stop
        self.fault = ""

    def run(self) -> int:
        """Until every worker has ended; the signal that stopped them, or 0.

        Raises:
            InputError: if too many trials in a row failed, or workers can't run.
        """
        with self._listening():
            self.members = [self._start(share) for share in self.shares]
            while self.members:
                waited = [member.events for member in self.members] + [m.process.sentinel for m in self.members]
                ready = wait(waited, timeout=1.0)
                self._pass_on_signals()
                for member in list(self.members):
                    if member.events in ready or member.process.sentinel in ready:
                        self._hear(member)
                    if not member.process.is_alive():
                        self._hear(member)  # what it sent last
                        self._dismiss(member)
        if self.fault:
            raise InputError(self.fault)
        return self.signals[0] if self.signals else 0

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals are noted, and acted on by the loop."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, lambda got, frame: self.signals.append(got))
        try:
            yield
        finally:
            for member in self.members:  # this process is about to end with an error
                self._kill(member)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, share: Share) -> Member:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(self.plan, share, sender, os.getpid()))
        process.start()
        sender.close()  # the worker's alone, so that its end is seen here
        return Member(process, receiver, share)

    def _hear(self, member: Member) -> None:
        try:
            while member.events.poll():
                event = member.events.recv()
                if isinstance(event, Training):
                    member.leader = event.leader
                    continue
                member.had_trial |= isinstance(event, Begun)
                if isinstance(event, Ended):
                    self._count(event)
                self.tell(event)
        except (EOFError, OSError):  # the worker has ended
            pass

    def _count(self, ended: Ended) -> None:
        """Stop where every trial fails: something else than its parameters is wrong."""
        if ended.state == KILLED:  # which comes again, and then is one or is none
            return
        self.failures = [*self.failures, ended] if ended.state == FAILED else []
        if len(self.failures) == self.most_failures:
            self.fault = f"the last {len(self.failures)} trials failed, the last one with: {ended.reason}"
            self._ask()

    def _pass_on_signals(self) -> None:
        """The first signal lets each trial keep itself; a second one kills."""
        while self.asked < len(self.signals) and self.asked < 2:
            if self.asked == 0:
                self.tell("stopping: each trial ends its step and is kept; once more stops at once")
                self._ask()
            else:
                for member in self.members:
                    self._kill(member)
            self.asked += 1

    def _ask(self) -> None:
        for member in self.members:
            member.process.terminate()

    def _kill(self, member: Member) -> None:
        member.process.kill()
        if member.leader is not None:
            kill_group(member.leader)

    def _dismiss(self, member: Member) -> None:
        """A worker has ended. Killed, it leaves a trial, which is queued again, and a place for another worker."""
        self.members.remove(member)
        member.process.join()
        status = member.process.exitcode
        if member.leader is not None:
            kill_group(member.leader)
        if status == 0:
            return
        self._recover()
        if self.signals or self.fault:
            return
        if status < 0 and member.had_trial:
            self.tell(f"a worker was killed ({signal.Signals(-status).name}); another takes its place")
            self.members.append(self._start(member.share))
        elif not self.fault:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "has stopped, as written above"
            self.fault = f"a worker {how}"
            self._ask()

    def _recover(self) -> None:
        plan = self.plan
        storage = open_storage(plan.storage, plan.heartbeat, plan.grace)
        recover(optuna.load_study(study_name=plan.study, storage=storage), plan.folder, plan.grace)
