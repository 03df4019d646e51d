"""What the figures of a sweep draw, read back from their axes."""

import numpy as np
import pytest
from studies import make_study

from speakerlab.reports.sweep import SweepTrials
from speakerlab.reports.sweep_figures import (
    Scale,
    history_figure,
    importances,
    parallel_figure,
    pareto_figure,
    slice_figure,
)
from speakerlab.sweeping.results import objectives_of


@pytest.fixture(scope="module", params=["one", "accuracy", "two"])
def sweep(request, tmp_path_factory) -> SweepTrials:
    folder = tmp_path_factory.mktemp("sweeps") / request.param
    study = make_study(folder, request.param == "two", "maximize" if request.param == "accuracy" else "minimize")
    return SweepTrials(study, study.trials, objectives_of(study), {})


def test_history(sweep):
    axes = history_figure(sweep).axes
    assert len(axes) == len(sweep.objectives)
    best = np.array(axes[0].get_lines()[0].get_ydata())
    values, running = [100 * trial.values[0] for trial in sweep.complete], []
    for value in values:
        better = max if sweep.objectives[0] == "accuracy" else min
        running.append(better([value, *running[-1:]]))
    np.testing.assert_allclose(best, running)


def test_the_front_goes_through_its_trials(sweep):
    if len(sweep.objectives) == 1:
        return
    (axes,) = pareto_figure(sweep).axes
    x, y = axes.get_lines()[0].get_data()
    np.testing.assert_allclose(x, [trial.values[1] / 1e6 for trial in sweep.front])
    np.testing.assert_allclose(y, [100 * trial.values[0] for trial in sweep.front])
    assert (np.diff(y) > 0).all() and (np.diff(x) < 0).all()


def test_the_rate_matters_most(sweep):
    """Which is how the function was made: its logarithm's square spans ten times what the margin's does."""
    shares = importances(sweep, 0)
    assert set(shares) == {"fANOVA", "PED-ANOVA"}
    assert all(sum(one.values()) == pytest.approx(1.0) for one in shares.values())
    assert max(shares["fANOVA"], key=shares["fANOVA"].get) == "optimizer.lr"
    if len(sweep.objectives) > 1:
        assert max(importances(sweep, 1)["fANOVA"].items(), key=lambda item: item[1])[0] == "model.encoder.channels"


def test_importance_does_not_depend_on_which_way_is_up(tmp_path):
    """The accuracy is 1 minus the error, in the same trials."""
    down, up = make_study(tmp_path / "down"), make_study(tmp_path / "up", direction="maximize")
    first, second = (importances(SweepTrials(study, study.trials, ["x"], {}), 0) for study in (down, up))
    assert first["PED-ANOVA"] == pytest.approx(second["PED-ANOVA"])
    assert first["fANOVA"] == pytest.approx(second["fANOVA"], abs=0.01)  # of trees that split ties otherwise


def test_slices(sweep):
    axes = slice_figure(sweep).axes
    assert len(axes) == len(sweep.parameters) * len(sweep.objectives)
    titles = [one.get_title(loc="left") for one in axes[: len(sweep.parameters)]]
    assert titles == sweep.parameters
    rate = axes[titles.index("optimizer.lr")]
    assert rate.get_xscale() == "log"
    at = rate.collections[0].get_offsets()
    np.testing.assert_allclose(sorted(at[:, 0]), sorted(trial.params["optimizer.lr"] for trial in sweep.complete))
    for one, name in zip(axes, titles, strict=False):  # dots at the ends are whole
        if name != "loss":
            low, high = one.get_xlim()
            ends = sweep.trials[0].distributions[name]
            assert low < ends.low and ends.high < high
    labels = [label.get_text() for label in axes[titles.index("loss")].get_xticklabels()]
    assert sorted(labels) == ["aam", "am"]


def test_a_scale_runs_from_end_to_end(sweep):
    rate = Scale(sweep, "optimizer.lr")
    shares = rate.shares(sweep.complete)
    expected = [(np.log10(trial.params["optimizer.lr"]) + 4) / 2 for trial in sweep.complete]
    np.testing.assert_allclose(shares, expected)
    loss = Scale(sweep, "loss").shares(sweep.complete)
    assert set(loss.tolist()) == {0.25, 0.75}


def test_parallel_has_a_line_a_complete_trial(sweep):
    (axes,) = parallel_figure(sweep).axes
    assert len(axes.collections) == len(sweep.complete)
    assert all(len(one.get_segments()) == len(sweep.parameters) for one in axes.collections)
    bold = max(axes.collections, key=lambda one: one.get_linewidths()[0])
    best = sweep.front[0]
    height = bold.get_segments()[0][0, 1]
    assert height == pytest.approx(Scale(sweep, sweep.parameters[0]).shares([best])[0])
