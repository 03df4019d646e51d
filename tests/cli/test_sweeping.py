"""What sweep.py decides before the first trial: real compositions, a real database."""

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from speakerlab import InputError
from speakerlab.cli.launch import compose, take_others
from speakerlab.cli.sweeping import Sweep, plan_sweep, read_trials
from speakerlab.shipped import CONF
from speakerlab.sweeping.study import POINT, load

RANGES = ["loss.margin=interval(0.1, 0.5)", "optimizer.lr=tag(log, interval(1e-4, 1e-2))"]


@pytest.fixture
def plan(tmp_path):
    """`plan(*overrides of the trials, own=[keys of sweep.py])`."""

    def make(*overrides: str, own: list[str] | None = None) -> Sweep:
        cfg, _ = compose("sweep", [f"output_dir={tmp_path}", *(own or [])])
        return plan_sweep(cfg, list(overrides), Path("train.py"))

    return make


def test_a_plan(plan, tmp_path):
    sweep = plan(*RANGES, "model=xvector", "trainer.max_epochs=7", own=["n_trials=5"])
    assert [parameter.key for parameter in sweep.plan.space] == ["loss.margin", "optimizer.lr"]
    assert (
        sweep.plan.study == "loss.margin_optimizer.lr"
        and sweep.plan.folder == tmp_path / "sweeps" / "loss.margin_optimizer.lr"
    )
    assert sweep.plan.command[0] == sys.executable and Path(sweep.plan.command[1]).name == "train.py"
    assert sweep.plan.command[2:] == ("model=xvector", "trainer.max_epochs=7")
    assert (sweep.plan.objectives, sweep.plan.directions) == (("eer",), ("minimize",))
    assert (sweep.plan.epochs, sweep.plan.n_trials, sweep.plan.deadline) == (7, 5, None)
    assert plan(*RANGES, "+sweep.n_trials=4", own=["study=other"]).plan.n_trials == 4
    assert load("loss.margin_optimizer.lr", output_dir=tmp_path).trials == []


def test_a_space_of_the_project_and_its_points(plan):
    sweep = plan("sweep=margin", "loss.scale=30.0")
    assert [parameter.key for parameter in sweep.plan.space] == ["loss.margin", "optimizer.lr"]
    assert sweep.plan.study == "margin" and "sweep=margin" in sweep.plan.command
    waiting = sweep.study.get_trials(states=(TrialState.WAITING,))
    assert all("loss.scale" not in trial.system_attrs["fixed_params"] for trial in waiting) and waiting


@pytest.mark.parametrize("name", ["mel_cnn", "sincnet"])
def test_an_experiment_is_searched_in_the_space_of_its_name(plan, name):
    sweep = plan(f"experiment={name}", "debug=mini")
    assert sweep.plan.study == name and sweep.plan.n_trials == 5
    assert f"sweep={name}" in sweep.plan.command and "optimizer.lr" in [one.key for one in sweep.plan.space]
    cfg, choices = compose("train", list(sweep.plan.command[2:]))
    assert (cfg.task.name, choices["loss"], choices["model"]) == ("identification", "aam", name)
    narrowed = plan(f"experiment={name}", "optimizer.lr=interval(1e-3, 2e-3)", own=["study=rate"])
    assert [one.key for one in narrowed.plan.space] == ["optimizer.lr"]


def test_help_names_every_space():
    header = OmegaConf.load(CONF / "hydra" / "help" / "sweeping.yaml").header
    (line,) = [line for line in header.splitlines() if "SPACE is" in line]
    spaces = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
    assert f"SPACE is {', '.join(spaces[:-1])} or {spaces[-1]}, a file" in line


@pytest.mark.parametrize(
    "overrides, own, expected",
    [
        (["model=xvector"], [], "nothing to search"),
        (["loss.margni=interval(0, 1)"], [], "did you mean loss.margin?"),
        (["model=choice(ecapa, resnet3)"], [], "model=resnet3: there is no"),
        (["model.encoder.channels=interval(8, 16)"], [], "model.encoder.channels=8.0 must be int"),
        (["loss.margin=interval(1, 0)"], [], "first number must be below"),
        (["loss.margin=interval(0.1, 4)"], [], "margin=4.0 must be"),
        (
            ["loss.margin=interval(-1, 0.5)", "loss.scale=interval(10, 20)"],
            [],
            "(trial: loss.margin=-1.0 loss.scale=10.0)",
        ),
        (["sweep=margni"], [], "did you mean margin?"),
        (["sweep=margin,optimizer"], [], "a study has one space"),
        ([*RANGES, "objective=[f1]"], [], "objective: f1"),
        ([*RANGES, "objective=[parameters]"], [], "name a metric that is measured"),
        ([*RANGES, "+sweep.when={loss.margin: 'losss=aam'}"], [], "losss is no key"),
        ([*RANGES, "+sweep.points=[{loss.margin: 0.9}]"], [], "loss.margin=0.9 of the point"),
        (RANGES, ["n_trials=0"], "n_trials=0 must be at least 1"),
        (RANGES, ["workers=1000"], "workers=1000 must be at most"),
        (RANGES, ["grace=40"], "grace=40 must be at least twice heartbeat=30"),
        (RANGES, ["hours=0"], "hours=0"),
        (RANGES, ["study=a/b"], "study=a/b must be a name"),
        (RANGES, ["search=grid"], "search=grid must be one of"),
        (RANGES, ["warm_start=nowhere"], "nowhere: no study in"),
        (RANGES, ["storage=nonsense"], "storage= must be like"),
        (RANGES, ["output_dir=/dev/null"], "can't be made"),
    ],
)
def test_what_cant_work_is_refused_before_anything_is_trained(plan, overrides, own, expected, tmp_path):
    with pytest.raises(InputError) as caught:
        plan(*overrides, own=own)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_parameters_of_a_loss_exist_with_that_loss_alone(plan):
    ranges = ["loss=choice(aam, softmax)", "loss.margin=interval(0.1, 0.5)"]
    with pytest.raises(InputError, match=r"loss\.margin"):  # softmax has none
        plan(*ranges)
    sweep = plan(*ranges, "+sweep.when={loss.margin: 'loss=aam'}")
    assert [parameter.key for parameter in sweep.plan.space] == ["loss", "loss.margin"]


def test_a_member_that_goes_wrong_with_the_others_first_values_is_told_of(plan):
    ranges = ["model=choice(ecapa, xvector)", "loss=choice(softmax, aam)", "loss.margin=interval(0.1, 4)"]
    (note,) = plan(*ranges, "+sweep.when={loss.margin: 'loss=aam'}").notes
    assert note.startswith("trials such as model=ecapa loss=aam loss.margin=4.0 will fail: ") and "margin=4.0" in note


def test_what_train_takes_sweep_takes(plan, tmp_path):
    """A file as the experiment, and branches without quotes."""
    (tmp_path / "best.yaml").write_text("# @package _global_\ntrainer: {max_epochs: 3}\n")
    sweep = plan(f"experiment={tmp_path / 'best.yaml'}", RANGES[0])
    assert sweep.plan.epochs == 3 and f"experiment={tmp_path / 'best.yaml'}" in sweep.plan.command
    ranges = "# @package _global_\nhydra: {sweeper: {params: {loss.margin: 'interval(0, 1)'}}}\n"
    (tmp_path / "space.yaml").write_text(ranges)
    assert [one.key for one in read_trials([f"experiment={tmp_path / 'space.yaml'}"])[0]] == ["loss.margin"]
    branches = "model.branches={a: {overrides: [model=xvector]}, b: {overrides: [model=mel_cnn]}}"
    base = read_trials(["model=fusion", branches, "model.fusion.branch_dropout=interval(0, 0.5)"])[1]
    assert set(base.cfg.model.branches) == {"a", "b"}
    with pytest.raises(InputError, match="there is no such file"):
        plan("experiment=nowhere.yaml", RANGES[0])


def test_another_study_of_the_same_name_is_refused(plan):
    plan(*RANGES, own=["study=mine"])
    plan(*RANGES, "threads=1", "trainer=cpu", "loader.num_workers=3", own=["study=mine", "n_trials=99"])
    for overrides, expected in [
        ([*RANGES, "trainer.max_epochs=7"], "trainer.max_epochs=10, not 7"),
        ([*RANGES, "model=xvector"], "model=ecapa, not xvector"),
        ([*RANGES, "objective=[eer,parameters]"], "objective=eer, not eer,parameters"),
        ([RANGES[0]], "optimizer.lr in its space, which is missing now"),
        ([*RANGES, "loss.scale=interval(10, 20)"], "no loss.scale in its space"),
        ([RANGES[0], "optimizer.lr=interval(1e-4, 1e-2)"], "not interval(0.0001, 0.01)"),
    ]:
        with pytest.raises(InputError) as caught:
            plan(*overrides, own=["study=mine"])
        assert "study=mine was begun with" in str(caught.value) and expected in str(caught.value)


def test_points_and_those_of_a_warm_start_are_queued_once(plan, tmp_path):
    study = plan(*RANGES, own=["study=old"]).study
    for margin, value in [(0.1, 0.3), (0.2, 0.1), (0.3, 0.2), (0.4, 0.4)]:
        study.enqueue_trial({"loss.margin": margin})
        trial = study.ask()
        trial.suggest_float("loss.margin", 0.1, 0.5), trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
        study.tell(trial, value)
    points = "+sweep.points=[{loss.margin: 0.15}]"
    own = ["study=new", "warm_start=old", "warm_start_points=3"]
    narrow = ["loss.margin=interval(0.1, 0.25)", points]
    for _ in range(2):
        sweep = plan(*narrow, own=own)
        waiting = sweep.study.get_trials(states=(TrialState.WAITING,))
        assert [trial.system_attrs["fixed_params"] for trial in waiting] == [
            {"loss.margin": 0.15},
            {"loss.margin": 0.2},
            {"loss.margin": 0.1},
        ]
        assert all(POINT in trial.user_attrs for trial in waiting)
        assert any("trial 2 is left out" in note and "loss.margin=0.3" in note for note in sweep.notes)


def test_no_more_points_are_queued_than_are_tried(plan):
    """A killed trial waits behind them."""
    points = "+sweep.points=[{loss.margin: 0.2}, {loss.margin: 0.3}]"
    for n_trials in (1, 2):
        assert len(plan(RANGES[0], points, own=[f"n_trials={n_trials}"]).study.trials) == n_trials


@pytest.mark.parametrize("storage", [None, "sqlite:///elsewhere.db"])
def test_a_warm_start_by_folder_is_of_that_folder(plan, tmp_path, monkeypatch, storage):
    """Also where this study is in a database that has no such study."""
    monkeypatch.chdir(tmp_path)
    study = plan(*RANGES, own=["study=old"]).study
    trial = study.ask()
    trial.suggest_float("loss.margin", 0.1, 0.5), trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
    study.tell(trial, 0.1)
    own = ["study=new", f"warm_start={tmp_path / 'sweeps' / 'old'}", *([f"storage={storage}"] if storage else [])]
    (waiting,) = plan(*RANGES, own=own).study.get_trials(states=(TrialState.WAITING,))
    assert waiting.system_attrs["fixed_params"] == trial.params


def test_two_workers_share_the_processor(plan, monkeypatch):
    monkeypatch.setattr("speakerlab.cli.sweeping.usable_cpus", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cpu = plan(*RANGES, "trainer=cpu", own=["workers=2"])
    assert [tuple(share) for share in cpu.shares] == [(None, 4), (None, 4)] and cpu.plan.command[-1] == "threads=4"
    gpu = plan(*RANGES, own=["workers=2"])
    assert [share.gpus for share in gpu.shares] == ["0", "1"]
    with pytest.raises(InputError, match=r"trainer.devices=\[0, 1\] must be a number or auto"):
        plan(*RANGES, "trainer.devices=[0,1]", own=["workers=2"])
    given = plan(*RANGES, "threads=3", own=["workers=2"])
    assert given.plan.command[-1] == "threads=3" and given.shares[0].threads is None


def test_the_trials_part_of_a_command_line(monkeypatch):
    line = [
        "sweep.py",
        "sweep=margin",
        "n_trials=5",
        "pruning.patience=3",
        "+data/x=y",
        "seed=3",
        "--cfg",
        "job",
        "~a",
        "--help",
    ]
    monkeypatch.setattr(sys, "argv", line)
    assert take_others("sweep") == ["sweep=margin", "+data/x=y", "seed=3", "~a"]
    assert sys.argv == ["sweep.py", "n_trials=5", "pruning.patience=3", "--cfg", "job", "--help"]
    monkeypatch.setattr(sys, "argv", ["sweep.py", "-m"])
    with pytest.raises(SystemExit, match="error: -m is for"):
        take_others("sweep")


def test_overrides_that_begin_with_a_plus_reach_the_space():
    space, base = read_trials(["+augment/waveform=choice(gain, clipping)", "+augment/speed=perturbation"])
    assert [parameter.key for parameter in space] == ["+augment/waveform"]
    assert base.overrides == ["+augment/speed=perturbation"]
