"""The report of a sweep against the study that it shows."""

import re
from html.parser import HTMLParser

import optuna
import pytest
from studies import FAILS, make_study

from speakerlab.reports.sweep import SweepTrials, outcome, sweep_figures, trial_rows, write_sweep_report
from speakerlab.sweeping.results import objectives_of, ranked
from speakerlab.sweeping.study import counted


def seen(study: optuna.Study) -> SweepTrials:
    return SweepTrials(study, counted(study.trials), objectives_of(study), {FAILS: "out of memory: CUDA"})


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> SweepTrials:
    return seen(make_study(tmp_path_factory.mktemp("sweeps") / "one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> SweepTrials:
    return seen(make_study(tmp_path_factory.mktemp("sweeps") / "two", two=True))


def test_the_front_is_optunas(one, two):
    assert [trial.number for trial in one.front] == [one.study.best_trial.number]
    assert [trial.number for trial in two.front] == [trial.number for trial in ranked(two.study)]


def test_what_came_of_it(one, two):
    facts = outcome(one)
    assert re.fullmatch(r"\d+ complete, \d+ pruned, 1 failed", facts["trials"])
    assert facts["best"] == f"trial {one.study.best_trial.number}: {100 * one.study.best_value:.2f} %"
    assert outcome(two)["Pareto front"].startswith(f"{len(two.front)} trial") and "best" not in outcome(two)


def test_a_row_a_trial(one):
    rows = trial_rows(one, one.trials)
    assert len(rows) == len(one.trials)
    assert rows[f"trial {FAILS}"][""] == "failed: out of memory: CUDA" and rows[f"trial {FAILS}"]["EER"] == "–"
    pruned = next(trial for trial in one.trials if trial.state.name == "PRUNED")
    epoch, value = list(pruned.intermediate_values.items())[-1]
    assert rows[f"trial {pruned.number}"][""] == f"pruned after epoch {epoch}, {100 * value:.2f} %"
    assert rows[f"trial {pruned.number}"]["EER"] == "–"


class Page(HTMLParser):
    """What a page loads from elsewhere, and its headings."""

    def __init__(self):
        super().__init__()
        self.headings, self.sources, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "h2"
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.inside:
            self.headings.append(data)
            self.inside = False


def test_the_page(one, two, tmp_path):
    for sweep, expected in (
        (one, ["Outcome", "Best trial", "History", "Importance of the parameters"]),
        (two, ["Outcome", "Pareto front", "History", "Pareto front", "Importance of the parameters"]),
    ):
        page = Page()
        text = write_sweep_report(tmp_path, sweep, {"command": "python sweep.py"}, "name: x_best").read_text()
        page.feed(text)
        assert page.headings == [*expected, "Slices", "Parallel coordinates", "Trials", "Sweep"]
        assert page.sources and all(source.startswith("data:image/svg+xml") for source in page.sources)
        assert "name: x_best" in text and "<script" not in text
    assert (tmp_path / "plots" / "parallel_sweep.png").stat().st_size > 5000


def test_few_trials_and_none(tmp_path):
    study = optuna.create_study()
    empty = SweepTrials(study, [], ["eer"], {})
    assert not sweep_figures(empty) and not empty.front
    write_sweep_report(tmp_path, empty, {})
    for value in (0.2, 0.1):
        study.tell(study.ask({"loss.margin": optuna.distributions.FloatDistribution(0.1, 0.5)}), value)
    assert list(sweep_figures(SweepTrials(study, study.trials, ["eer"], {}))) == ["history", "slices", "parallel"]


def test_parameters_that_only_some_trials_have(tmp_path):
    """And one that is the same in all, which shows nothing."""
    study = optuna.create_study()
    for number in range(8):
        trial = study.ask()
        loss = trial.suggest_categorical("loss", ["aam", "softmax"])
        trial.suggest_categorical("optimizer", ["adamw"])
        margin = trial.suggest_float("loss.margin", 0.1, 0.5) if loss == "aam" else 0.4
        study.tell(trial, margin + 0.01 * number)
    sweep = SweepTrials(study, study.trials, ["eer"], {})
    assert set(sweep.parameters) == {"loss", "loss.margin"}
    write_sweep_report(tmp_path, sweep, {})
