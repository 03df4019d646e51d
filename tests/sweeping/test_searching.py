"""Samplers on a function whose minimum is known; pruners on curves by hand."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from speakerlab import InputError
from speakerlab.sweeping.searching import PRUNERS, SEARCHES, Pruning, Search, check_search, make_pruner, make_sampler
from speakerlab.sweeping.space import read_space
from speakerlab.sweeping.study import quiet_optuna

quiet_optuna()
PRUNING = Pruning("median", startup_trials=2, warmup_epochs=1, patience=1, reduction=3)
SPACE, _ = read_space({"x": "interval(-4, 4)", "y": "interval(-4, 4)"}, [])
CONDITIONAL, _ = read_space({"k": "choice(a, b)", "x": "interval(0, 1)", "y": "interval(0, 1)"}, [], {"y": "k=a"})


def bowl(params: dict[str, float]) -> float:
    """Lowest, 0, at (1, -2)."""
    return (params["x"] - 1) ** 2 + (params["y"] + 2) ** 2


def searched(kind: str, trials: int, seed: int = 1) -> optuna.Study:
    study = optuna.create_study(sampler=make_sampler(Search(kind, 8, seed)))
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, bowl(SPACE.suggest(trial)))
    return study


@pytest.mark.parametrize("kind", ["tpe", "gp", "cmaes"])
def test_a_search_learns(kind):
    """Its last ten trials are far better than those at random."""
    pytest.importorskip("cmaes")
    study = searched(kind, 20 if kind == "gp" else 30)  # a fit takes a while
    drawn = [trial.value for trial in searched("random", 30).trials]
    last = sorted(trial.value for trial in study.trials[-10:])
    assert last[5] < sorted(drawn)[15] / 2 and study.best_value < 1.0


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_trial_gets_what_its_number_gets_it(kind):
    """The same in a study that another process goes on with, and never what another number got."""
    pytest.importorskip("cmaes")
    whole = searched(kind, 12)
    study = optuna.create_study(sampler=make_sampler(Search(kind, 8, 1)))
    for _ in range(12):
        study.sampler = make_sampler(Search(kind, 8, 1))  # as in a worker that was just started
        trial = study.ask()
        study.tell(trial, bowl(SPACE.suggest(trial)))
    assert [trial.params for trial in study.trials] == [trial.params for trial in whole.trials]
    assert len({trial.params["x"] for trial in whole.trials}) == 12
    assert searched(kind, 3, seed=2).trials[0].params != whole.trials[0].params


@pytest.mark.parametrize("kind", ["tpe", "random", "gp"])
def test_conditional_spaces_and_several_objectives_are_searched(kind):
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make_sampler(Search(kind, 3, 1)))
    for _ in range(8):
        trial = study.ask()
        params = CONDITIONAL.suggest(trial)
        assert ("y" in params) == (params["k"] == "a")
        study.tell(trial, [params["x"], -params["x"]])
    assert {trial.params["k"] for trial in study.trials} == {"a", "b"}


def pruned_at(pruner: optuna.pruners.BasePruner, curves: list[list[float]], values: list[float]) -> int | None:
    """After which epoch a trial with these values is pruned, beside complete ones with those."""
    study = optuna.create_study(study_name="s", pruner=pruner)
    for curve in curves:
        known = dict(enumerate(curve, start=1))
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=min(curve), intermediate_values=known))
    trial = study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


GOOD, BAD = [0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "kind, curves, values, expected",
    [
        ("median", [GOOD, GOOD], BAD, 2),  # not within the first epoch
        ("median", [GOOD], BAD, None),  # too few to compare with
        ("median", [GOOD, BAD], GOOD, None),
        ("patient", [GOOD, GOOD], BAD, None),  # no worse than before is not yet hopeless
        ("patient", [GOOD, GOOD], [0.5, 0.55, 0.6, 0.6], 3),
        ("patient", [GOOD, GOOD], [0.8, 0.7, 0.6, 0.5], None),  # worse than the others, but still falling
        ("none", [GOOD, GOOD], BAD, None),
    ],
)
def test_hopeless_trials_are_pruned(kind, curves, values, expected):
    pruner = make_pruner(Pruning(kind, 2, 1, 1, 3), epochs=4, objectives=1)
    assert pruned_at(pruner, curves, values) == expected


def test_hyperband_stops_most_of_many():
    """Of 27 trials in brackets of 9 epochs, some are cut at each rung, and the best is not."""
    study = optuna.create_study(study_name="s", pruner=make_pruner(Pruning("hyperband", 2, 1, 1, 3), 9, 1))
    epochs = []
    for number in range(27):
        trial = study.ask()
        state = TrialState.COMPLETE
        for epoch in range(1, 10):
            trial.report(number % 9 / 9 + 1 / epoch, epoch)
            if epoch < 9 and trial.should_prune():
                state = TrialState.PRUNED
                break
        epochs.append(epoch)
        study.tell(trial, number % 9 / 9 + 1 / epoch if state == TrialState.COMPLETE else None, state=state)
    assert sum(epochs) < 0.8 * 27 * 9 and set(epochs) > {1, 9}
    assert study.best_trial.number % 9 == 0


def test_choices_that_cant_work_are_refused():
    for search, pruning, space, objectives, expected in [
        (Search("tp", 1, 1), PRUNING, SPACE, 1, "search=tp must be one of tpe, gp, cmaes, random"),
        (Search("tpe", 1, 1), Pruning("mean", 1, 1, 1, 3), SPACE, 1, "pruner=mean must be one of"),
        (Search("tpe", -1, 1), PRUNING, SPACE, 1, "startup_trials=-1"),
        (Search("tpe", 1, 1), Pruning("median", 1, -2, 1, 3), SPACE, 1, "pruning.warmup_epochs=-2"),
        (Search("tpe", 1, 1), Pruning("hyperband", 1, 1, 1, 1), SPACE, 1, "pruning.reduction=1"),
        (Search("cmaes", 1, 1), PRUNING, SPACE, 2, "search=cmaes has one objective"),
        (Search("cmaes", 1, 1), PRUNING, CONDITIONAL, 1, "at least two parameters"),
    ]:
        with pytest.raises(InputError, match=expected):
            check_search(search, pruning, space, objectives)


def test_what_the_user_should_know_is_said():
    assert check_search(Search("tpe", 1, 1), PRUNING, CONDITIONAL, 1) == []
    assert "no trial is pruned" in check_search(Search("tpe", 1, 1), PRUNING, SPACE, 2)[0]
    (line,) = check_search(Search("gp", 1, 1), PRUNING, CONDITIONAL, 1)
    assert line.startswith("search=gp draws y at random")
    assert set(PRUNERS) == {"median", "hyperband", "patient", "none"}
    assert FloatDistribution(-4.0, 4.0) == SPACE.parameters[0].distribution
