"""`speakerlab sweep` on real studies."""

import json

import pytest
from optuna.trial import TrialState
from studies import FAILS, TRIALS, make_study, write_command

from speakerlab.cli.main import main
from speakerlab.cli.outcome import FILE, Outcome, write_outcome
from speakerlab.cli.sweep import conclude_multirun
from speakerlab.sweeping.study import AGAIN_OF, FOLDER, REASON, join, load, open_storage


@pytest.fixture
def study(tmp_path, monkeypatch):
    """`margin` among the sweeps of the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return make_study(tmp_path / "outputs" / "sweeps" / "margin")


def failing(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["sweep", *arguments])
    return str(caught.value.code)


def test_status_of_one(study, capsys):
    main(["sweep", "status", "margin"])
    printed = capsys.readouterr().out
    assert f"trial {TRIALS - 1}" in printed and "failed: out of memory: CUDA" in printed
    assert f"best: trial {study.best_trial.number}: {100 * study.best_value:.2f} %" in printed


def test_status_of_a_study_without_trials(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "sweeps" / "new").mkdir(parents=True)
    join("new", open_storage("sqlite:///outputs/sweeps/new/study.db"), ["eer"], ["minimize"], {})
    main(["sweep", "status", "new"])
    assert capsys.readouterr().out == "no trial has begun\nobjective: EER\ntrials: none yet\n"
    assert failing("best", "new") == "error: study new: no trial is complete"


def test_status_of_all(study, capsys, tmp_path):
    make_study(tmp_path / "outputs" / "sweeps" / "loss" / "2026-01-31_12-00-00", two=True)
    main(["sweep", "status"])
    printed = capsys.readouterr().out
    assert "margin" in printed and "loss/2026-01-31_12-00-00" in printed and "Pareto front" in printed
    assert f"trial {study.best_trial.number}: {100 * study.best_value:.2f} %" in printed


def test_status_of_all_in_a_database(study, capsys):
    main(["sweep", "status", "--storage", "sqlite:///outputs/sweeps/margin/study.db", "--output-dir", "elsewhere"])
    printed = capsys.readouterr().out
    assert "sweeps in sqlite:///outputs/sweeps/margin/study.db" in printed and "margin" in printed
    assert f"trial {study.best_trial.number}: {100 * study.best_value:.2f} %" in printed


def test_a_study_that_cant_be_read_hides_no_other(study, capsys, tmp_path):
    (tmp_path / "outputs" / "sweeps" / "broken").mkdir()
    (tmp_path / "outputs" / "sweeps" / "broken" / "study.db").write_bytes(b"no database" * 1000)
    main(["sweep", "status"])
    printed = capsys.readouterr().out
    assert "can't be read" in printed and f"{100 * study.best_value:.2f} %" in printed


def test_the_best(study, capsys, tmp_path):
    write_command(tmp_path / "outputs" / "sweeps" / "margin", study.best_trial, "model=ecapa", "seed=5")
    main(["sweep", "best", "margin"])
    printed = capsys.readouterr().out
    folder = tmp_path / "outputs" / "sweeps" / "margin"
    assert "python train.py experiment=outputs/sweeps/margin/best.yaml" in printed
    assert "seed: 5" in (folder / "best.yaml").read_text() and "<html" in (folder / "report.html").read_text()
    assert list((folder / "tensorboard").glob("trial_*"))
    main(["sweep", "best", "margin", "--trial", "0"])
    assert "# Trial 0 " in (folder / "best.yaml").read_text()


def test_failed_trials_once_more(study, capsys):
    main(["sweep", "retry", "margin"])
    assert f"queued again: {FAILS};" in capsys.readouterr().out
    (waiting,) = load("margin").get_trials(states=(TrialState.WAITING,))
    assert waiting.user_attrs == {AGAIN_OF: FAILS, FOLDER: str(FAILS)}
    assert load("margin").ask().params == {}  # it is this one that comes next
    (running,) = load("margin").get_trials(states=(TrialState.RUNNING,))
    assert running.system_attrs["fixed_params"] == study.trials[FAILS].params
    assert "no trial has failed" in failing("retry", "margin")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["status", "margni"], "margni: no study in outputs/sweeps (there are: margin)"),
        (["best", "margin", "--trial", "99"], "trial 99 is not complete"),
        (["retry", "margin", "--trial", "3"], f"trial 3 has not failed; failed: {FAILS}"),
        (["status", "--output-dir", "elsewhere"], "no sweep is here"),
        (["status", "--storage", "sqlite:///empty.db"], "sqlite:///empty.db: no sweep is here"),
    ],
)
def test_mistakes(study, arguments, expected):
    message = failing(*arguments)
    assert message.startswith("error: ") and expected in message and "\n" not in message


def test_a_study_of_hydras_plugin(study, tmp_path, capsys):
    """It keeps neither the objectives' names nor why a trial failed."""
    folder = tmp_path / "outputs" / "sweeps" / "margin"
    study.set_user_attr("objectives", None)
    facts = {"command": ["train.py", "-m"], "varied": ["loss.margin"], "objectives": ["eer"]}
    (folder / "sweep.json").write_text(json.dumps(facts))
    conclude_multirun(folder)
    assert load(folder).user_attrs["objectives"] == ["eer"]
    assert "python train.py -m" in (folder / "report.html").read_text()
    assert "is of train.py -m, which goes on with none" in failing("retry", "margin")
    assert not load(folder).get_trials(states=(TrialState.WAITING,))


def test_why_a_members_trial_failed(study, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "outputs" / "sweeps" / "margin"
    (folder / str(FAILS)).mkdir()
    write_outcome(folder / str(FAILS) / FILE, Outcome(error="training diverged"))
    monkeypatch.setattr("speakerlab.sweeping.study.REASON", f"not {REASON}")
    main(["sweep", "status", "margin"])
    assert "failed: training diverged" in capsys.readouterr().out


def test_status_of_a_grid(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "sweeps" / "seed" / "2026-01-31_12-00-00"
    for number, outcome in enumerate([Outcome(0.25), Outcome(error="out of memory")]):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "overrides.json").write_text(json.dumps([f"seed={number}", "model=ecapa"]))
        write_outcome(folder / str(number) / FILE, outcome)
    facts = {"command": ["train.py", "-m"], "varied": ["seed"], "objectives": ["eer"]}
    (folder / "sweep.json").write_text(json.dumps(facts))
    main(["sweep", "status", str(folder)])
    printed = capsys.readouterr().out
    assert "25.00 %" in printed and "out of memory" in printed and "model" not in printed
    assert (folder / "members.csv").read_text() == "member,seed,eer,error\n0,0,0.25,\n1,1,,out of memory\n"
    main(["sweep", "status"])
    assert "a grid: members.csv" in capsys.readouterr().out
