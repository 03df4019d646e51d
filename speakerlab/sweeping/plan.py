"""What the workers of a sweep are told, and what they tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from speakerlab.sweeping.searching import Pruning, Search
from speakerlab.sweeping.space import Space, Value

# How a trial ends; KILLED is one that nobody asked to end, which is tried once more.
COMPLETE, PRUNED, FAILED, KILLED, STOPPED, LOST = "complete", "pruned", "failed", "killed", "stopped", "lost"


@dataclass(frozen=True)
class Plan:
    """A sweep, as every worker knows it.

    Attributes:
        study: its name.
        storage: address of its database.
        folder: of the study on this machine, where trials have their folders.
        command: of a trial, but for what it varies.
        space: that trials vary in.
        objectives: names of a trial's values; the first that is measured is reported after each epoch.
        directions: "minimize" or "maximize", for each.
        n_trials: of the study in all.
        epochs: of a trial that is not pruned.
        search: how values are chosen.
        pruning: how hopeless trials are recognised.
        heartbeat: seconds between two signs of life.
        grace: seconds without one after which a trial is nobody's.
        deadline: as `time.time()` tells it, at which trials are stopped; None for no limit.
    """

    study: str
    storage: str
    folder: Path
    command: tuple[str, ...]
    space: Space
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    n_trials: int
    epochs: int
    search: Search
    pruning: Pruning
    heartbeat: int
    grace: int
    deadline: float | None


class Begun(NamedTuple):
    """A trial begins, or goes on with an earlier one."""

    number: int
    params: dict[str, Value]
    again_of: int | None


class Training(NamedTuple):
    """The process that leads the group of a trial's processes; None when it has ended."""

    leader: int | None


class Measured(NamedTuple):
    """A trial was measured after an epoch."""

    number: int
    epoch: int
    value: float


class Ended(NamedTuple):
    """A trial has ended; `state` is one of those above."""

    number: int
    state: str
    params: dict[str, Value]
    values: list[float]
    reason: str
    epochs: int
    seconds: float


Event = Begun | Training | Measured | Ended
