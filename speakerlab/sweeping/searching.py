"""Optuna's samplers and pruners, as this program uses them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, PatientPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from speakerlab import InputError
from speakerlab.sweeping.space import Space

SEARCHES = ("tpe", "gp", "cmaes", "random")
PRUNERS = ("median", "hyperband", "patient", "none")


@dataclass(frozen=True)
class Search:
    """How values are chosen.

    Attributes:
        kind: one of `SEARCHES`.
        startup_trials: that are drawn at random before it learns from results.
        seed: of its draws; what a trial gets depends on this, on its number and on the results before it.
    """

    kind: str
    startup_trials: int
    seed: int


@dataclass(frozen=True)
class Pruning:
    """How hopeless trials are recognised.

    Attributes:
        kind: one of `PRUNERS`.
        startup_trials: that end before a median says anything.
        warmup_epochs: in which no trial is pruned.
        patience: epochs without a better value that `patient` waits before it asks the median.
        reduction: of Hyperband: one of so many goes on at each rung.
    """

    kind: str
    startup_trials: int
    warmup_epochs: int
    patience: int
    reduction: int


def check_search(search: Search, pruning: Pruning, space: Space, objectives: int) -> list[str]:
    """Lines that the user should know about this choice.

    Raises:
        InputError: for a choice that can't work.
    """
    for key, kind, known in (("search", search.kind, SEARCHES), ("pruner", pruning.kind, PRUNERS)):
        if kind not in known:
            raise InputError(f"{key}={kind} must be one of {', '.join(known)}")
    numbers = {
        "startup_trials": search.startup_trials,
        "pruning.startup_trials": pruning.startup_trials,
        "pruning.warmup_epochs": pruning.warmup_epochs,
        "pruning.patience": pruning.patience,
    }
    for key, number in numbers.items():
        if number < 0:
            raise InputError(f"{key}={number} must not be negative")
    if pruning.reduction < 2:
        raise InputError(f"pruning.reduction={pruning.reduction} must be at least 2")
    if search.kind == "cmaes" and objectives > 1:
        raise InputError("search=cmaes has one objective; for several take search=tpe or search=gp")
    if search.kind == "cmaes":
        _check_cmaes()
    notes = []
    if objectives > 1 and pruning.kind != "none":
        notes.append("several objectives: no trial is pruned")
    modelled = [p for p in space if not p.when and not isinstance(p.distribution, CategoricalDistribution)]
    drawn = [p.key for p in space if p.when or (search.kind == "cmaes" and p not in modelled)]
    if search.kind in ("gp", "cmaes") and drawn:
        notes.append(f"search={search.kind} draws {', '.join(drawn)} at random; search=tpe learns about them too")
    if search.kind == "cmaes" and len(modelled) < 2:
        raise InputError("search=cmaes needs at least two parameters with numbers that exist in every trial")
    return notes


def _check_cmaes() -> None:
    try:
        import cmaes  # noqa: F401
    except ImportError as error:
        raise InputError("search=cmaes needs a package: pip install 'speakerlab[cmaes]'") from error


def make_sampler(search: Search) -> BaseSampler:
    """Of a study; see `Numbered`."""
    startup = search.startup_trials

    def make(seed: int) -> BaseSampler:
        if search.kind == "random":
            return RandomSampler(seed=seed)
        if search.kind == "gp":
            return GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        if search.kind == "cmaes":
            return CmaEsSampler(seed=seed, n_startup_trials=max(startup, 1), warn_independent_sampling=False)
        # In groups, so that parameters that exist together are modelled together; trials that run count as bad ones, so
        # that workers don't all try the same place.
        return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True)

    return Numbered(make, search.seed)


class Numbered(BaseSampler):
    """A sampler whose draws are a pure function of a seed, the trial's number and the results so far.

    Workers that share a study would draw the same points from one seed, and a study that goes on would draw again what
    it began with.

    Args:
        make: a sampler with a seed.
        seed: of the sweep.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int):
        self.make = make
        self.seed = seed
        self.inner = make(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner = self.make(int(np.random.SeedSequence((self.seed, trial.number)).generate_state(1)[0]))
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.inner.after_trial(study, trial, state, values)


def make_pruner(pruning: Pruning, epochs: int, objectives: int) -> BasePruner:
    """Of a study whose trials measure after each of at most `epochs` epochs."""
    if pruning.kind == "none" or objectives > 1:
        return NopPruner()
    if pruning.kind == "hyperband":
        least = min(max(pruning.warmup_epochs, 1), epochs)
        return HyperbandPruner(min_resource=least, max_resource=epochs, reduction_factor=pruning.reduction)
    median = MedianPruner(n_startup_trials=pruning.startup_trials, n_warmup_steps=pruning.warmup_epochs + 1)
    return PatientPruner(median, patience=pruning.patience) if pruning.kind == "patient" else median
