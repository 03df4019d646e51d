"""Multiruns as a user starts them: members that train, fail, start processes of their own, and are stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from processes import ROOT, clean_environment, run_forked

from speakerlab.cli import multirun
from speakerlab.cli.multirun import claim_folder, study_name, this_script

WILD = ["optimizer=sgd", "scheduler=constant", "trainer.gradient_clip_val=null"]


@pytest.fixture
def training(folders, tiny) -> list[str]:
    return [*folders.overrides(), *tiny, "trainer.max_epochs=1"]


def sweep_folder(cwd: Path, study: str) -> Path:
    (folder,) = (cwd / "outputs" / "sweeps" / study).iterdir()
    return folder


def members(folder: Path) -> list[dict[str, str]]:
    with open(folder / "members.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["loss.margin=0.1,4"], "margin=4 must be"),
        (["sweep=margin"], "is a range to draw from"),
        (["loss.margni=0.1,0.2"], "did you mean loss.margin?"),
    ],
)
def test_a_mistake_in_one_member_stops_all_before_the_first(tmp_path, arguments, expected):
    done = run_forked("train.py", "-m", *arguments, cwd=tmp_path)
    assert done.rc == 1 and done.stderr.startswith("error: ") and expected in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "outputs").exists()


def test_a_space_alone_is_no_run(tmp_path):
    done = run_forked("train.py", "sweep=margin", cwd=tmp_path)
    assert done.rc == 1 and "-m sweep=margin hydra/sweeper=optuna" in done.stderr
    resumed = run_forked("train.py", "sweep=margin", f"ckpt={tmp_path / 'run'}", cwd=tmp_path)  # as a killed trial is
    assert resumed.rc == 1 and "-m sweep=margin" not in resumed.stderr and "ckpt=" in resumed.stderr


def test_folders_are_claimed_by_one(tmp_path, monkeypatch):
    """However many sweeps begin in the same second."""

    class Fixed(multirun.datetime):
        @classmethod
        def now(cls):
            return cls(2026, 1, 31, 12, 0, 0)

    monkeypatch.setattr(multirun, "datetime", Fixed)
    found = [claim_folder(tmp_path, "margin") for _ in range(3)]
    assert [path.name for path in found] == [
        "2026-01-31_12-00-00",
        "2026-01-31_12-00-00_002",
        "2026-01-31_12-00-00_003",
    ]
    assert claim_folder(tmp_path, "other").name == "2026-01-31_12-00-00"


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["model=ecapa,resnet34", "loss=aam,am"], "model_loss"),
        (["loss.margin=0.1,0.2", "name=mine"], "mine"),
        (["sweep=margin", "hydra/sweeper=optuna"], "margin"),
        (["sweep=margin", "hydra/sweeper=optuna", "hydra.sweeper.study_name='by hand'"], "by_hand"),
        (["+augment/waveform=gain,telephone"], "augment_waveform"),
    ],
)
def test_a_sweep_has_a_name(sweep, overrides, expected):
    assert study_name(sweep(*overrides)) == expected


def test_where_configs_lie_goes_along(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "--config-dir", "mine", "seed=1,2"])
    script = this_script(["seed"])
    assert script.path == os.path.abspath("train.py") and script.options == ("--config-dir", os.path.abspath("mine"))


@pytest.mark.slow
def test_a_grid_with_a_member_that_fails(tmp_path, training):
    """The others train, its line is shown and kept, and the status says that something failed."""
    given = [*training, *WILD, "trainer.max_epochs=2", "optimizer.lr=1e30,0.01", "seed=1,2"]
    done = run_forked("train.py", "-m", *given, cwd=tmp_path)
    folder = sweep_folder(tmp_path, "optimizer.lr_seed")
    rows = members(folder)
    assert [(row["optimizer.lr"], row["seed"]) for row in rows] == [
        ("1e+30", "1"),
        ("1e+30", "2"),
        ("0.01", "1"),
        ("0.01", "2"),
    ]
    assert all("training diverged" in row["error"] and not row["eer"] for row in rows[:2])
    assert all(not row["error"] and 0 <= float(row["eer"]) <= 1 for row in rows[2:])
    assert done.rc == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and lines[0].startswith("error: training diverged")
    assert lines[2].startswith("error: 2 of 4 members failed; outputs/sweeps/")
    assert "Traceback" not in done.stderr
    for number, status in enumerate(["failed", "failed", "finished", "finished"]):
        assert json.loads((folder / str(number) / "status.json").read_text())["status"] == status
    assert "optimizer.lr=0.01" in (folder / "2" / "command.txt").read_text()


@pytest.mark.slow
def test_a_member_ends_as_a_run_that_was_started_alone(tmp_path, training):
    import torch

    together = run_forked("train.py", "-m", *training, "seed=1,2", cwd=tmp_path / "a")
    alone = run_forked("train.py", *training, "seed=2", "folder=alone", cwd=tmp_path / "b")
    assert together.rc == alone.rc == 0, together.stderr + alone.stderr
    paths = [sweep_folder(tmp_path / "a", "seed") / "1", tmp_path / "b" / "alone"]
    first, second = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for path in paths)
    assert all(torch.equal(first[key], second[key]) for key in second)


@pytest.mark.slow
def test_members_that_train_in_several_processes(tmp_path, training):
    """Lightning starts the command again for the second process; it must become that member's and not all of them."""
    ranks = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    done = run_forked("train.py", "-m", *training, *ranks, "seed=1,2", cwd=tmp_path)
    assert done.rc == 0 and "error" not in done.stderr.lower(), done.stderr
    folder = sweep_folder(tmp_path, "seed")
    assert len(members(folder)) == 2 and len(list(folder.glob("*/status.json"))) == 2
    assert json.loads((folder / "1" / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_optuna_with_two_objectives(tmp_path, training):
    given = [
        *training,
        "sweep=margin",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.sampler.seed=1",
        "objective=[eer,parameters]",
        "hydra.sweeper.direction=[minimize,minimize]",
    ]
    done = run_forked("train.py", "-m", *given, cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    folder = sweep_folder(tmp_path, "margin")
    from speakerlab.sweeping.results import objectives_of
    from speakerlab.sweeping.study import load

    study = load(folder)
    assert study.study_name == "margin" and objectives_of(study) == ["eer", "parameters"]
    for trial, row in zip(study.trials, members(folder), strict=True):
        assert trial.values == pytest.approx([float(row["eer"]), float(row["parameters"])], rel=1e-5)
        assert float(row["loss.margin"]) == trial.params["loss.margin"]
    assert {"best.yaml", "report.html", "tensorboard", "plots"} <= {path.name for path in folder.iterdir()}
    again = run_forked(
        "train.py", *training, f"experiment={(folder / 'best.yaml').relative_to(tmp_path)}", cwd=tmp_path
    )
    assert again.rc == 0, again.stderr
    (run,) = (tmp_path / "outputs" / "margin_best").iterdir()
    best = OmegaConf.load(folder / "best.yaml").loss.margin
    assert OmegaConf.load(run / "config.yaml").loss.margin == best


@pytest.mark.slow
def test_optuna_with_one_objective(tmp_path, training):
    sweeper = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler.seed=1"]
    done = run_forked("train.py", "-m", *training, "sweep=margin", *sweeper, cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    folder = sweep_folder(tmp_path, "margin")
    rows = members(folder)
    assert len(rows) == 3 and len({row["loss.margin"] for row in rows}) == 3
    for number, row in enumerate(rows):
        with open(folder / str(number) / "metrics" / "val_metrics.csv", newline="") as file:
            eers = [float(epoch["eer"]) for epoch in csv.DictReader(file)]
        assert float(row["eer"]) == pytest.approx(min(eers), rel=1e-5)
    best = min(rows, key=lambda row: float(row["eer"]))
    assert OmegaConf.load(folder / "best.yaml").loss.margin == float(best["loss.margin"])


@pytest.mark.slow
def test_every_trial_fails(tmp_path, training):
    wild = ["optimizer.lr=interval(1e29,1e30)", "trainer.max_epochs=2"]
    sweeper = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"]
    done = run_forked("train.py", "-m", *training, *WILD, *wild, *sweeper, cwd=tmp_path)
    assert done.rc == 1 and "error: 2 of 2 members failed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(find_spec("submitit") is None, reason="hydra-submitit-launcher is not installed: speakerlab[slurm]")
def test_members_as_jobs(tmp_path, training):
    """By submitit on this machine, which is how it submits to SLURM too."""
    given = [*training, *WILD, "trainer.max_epochs=2", "optimizer.lr=1e30,0.01", "hydra/launcher=local"]
    done = run_forked("train.py", "-m", *given, cwd=tmp_path)
    rows = members(sweep_folder(tmp_path, "optimizer.lr"))
    assert "training diverged" in rows[0]["error"] and 0 <= float(rows[1]["eer"]) <= 1
    assert done.rc == 1 and done.stderr.count("error: ") == 1, done.stderr


def stopped(folder: Path, training: list[str], by: signal.Signals) -> tuple[int, str]:
    """Status and output of a multirun that gets the signal once its first member has a checkpoint."""
    command = [sys.executable, str(ROOT / "train.py"), "-m", *training, "trainer.max_epochs=1000", "seed=1,2"]
    process = subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while not list(folder.glob("outputs/sweeps/seed/*/0/checkpoints/last.ckpt")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(by)
        printed, _ = process.communicate(timeout=240)  # whose other end the member holds, too
    finally:
        process.kill()
    return process.returncode, printed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_no_member_outlives_a_killed_multirun(tmp_path, training):
    status, _ = stopped(tmp_path, training, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert json.loads((sweep_folder(tmp_path, "seed") / "0" / "status.json").read_text())["status"] == "running"


@pytest.mark.slow
def test_a_stop_reaches_the_member_and_ends_the_sweep(tmp_path, training):
    """It keeps what it has, once, and the members after it do not begin."""
    status, printed = stopped(tmp_path, training, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    folder = sweep_folder(tmp_path, "seed")
    assert json.loads((folder / "0" / "status.json").read_text())["status"] == "stopped"
    assert not (folder / "1").exists() and "members" in printed
