"""Two runs, and a third that fuses their networks: frozen at first, then not; killed and resumed; evaluated."""

import shutil
from pathlib import Path

import pytest
import torch
from processes import run_forked
from test_commands import assert_equal_runs, kill_and_resume, last, rows, runs

EPOCHS, STEPS, FROZEN = 3, 6, 2  # steps an epoch: 24 utterances in batches of 4
BRANCHES = {
    "mel": ["model=xvector", "model.encoder.channels=16", "model.encoder.pooled_channels=16", "features.num_mels=8"],
    "wave": ["model=sincnet", "model.encoder.hidden=16", "model.encoder.filters=6", "model.encoder.embed_dim=12"],
}


@pytest.fixture(scope="module")
def small(folders, tiny) -> list[str]:
    """What `tiny` has besides its network."""
    words = [word for word in tiny if not word.startswith(("model", "pooling", "features"))]
    return [*folders.overrides(), *words, "name=tiny", "augment=specaugment"]


@pytest.fixture(scope="module")
def branches(tmp_path_factory, small) -> dict[str, Path]:
    """A run of each branch alone."""
    found = {}
    for name, overrides in BRANCHES.items():
        cwd = tmp_path_factory.mktemp(name)
        done = run_forked("train.py", *small, *overrides, "trainer.max_epochs=1", cwd=cwd)
        assert done.rc == 0, done.stderr
        (found[name],) = runs(cwd)
    return found


def training_on(branches: dict[str, Path], small: list[str]) -> list[str]:
    given = ", ".join(f"{name}: {{ckpt: '{run}'}}" for name, run in branches.items())
    return [
        *small,
        "model=fusion",
        f"model.branches={{{given}}}",
        "model.fusion.embed_dim=8",
        "model.fusion.branch_dropout=0.4",
        "fine_tuning.freeze=[network.branches]",
        f"fine_tuning.unfreeze_epoch={FROZEN}",
        f"trainer.max_epochs={EPOCHS}",
        "callbacks.checkpoints.every_minutes=0.000001",
        "callbacks.checkpoints.every_epoch=true",
    ]


@pytest.fixture(scope="module")
def training(branches, small) -> list[str]:
    return training_on(branches, small)


@pytest.fixture(scope="module")
def fused(tmp_path_factory, training) -> Path:
    cwd = tmp_path_factory.mktemp("fused")
    done = run_forked("train.py", *training, cwd=cwd)
    assert done.rc == 0, done.stderr
    (run,) = runs(cwd)
    return run


def of_branch(contents: dict, name: str) -> dict[str, torch.Tensor]:
    prefix = f"network.branches.{name}."
    return {key.removeprefix(prefix): value for key, value in contents["state_dict"].items() if key.startswith(prefix)}


def test_branches_are_kept_while_frozen_and_train_afterwards(fused, branches):
    kept = [torch.load(path, weights_only=True) for path in sorted((fused / "checkpoints").glob("epoch_*.ckpt"))]
    assert len(kept) == EPOCHS
    for name, run in branches.items():
        start = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for epoch, contents in enumerate(kept, start=1):
            weights = of_branch(contents, name)
            assert {f"network.{key}" for key in weights} == {key for key in start if key.startswith("network.")}
            moved = [key for key, value in weights.items() if not torch.equal(value, start[f"network.{key}"])]
            assert bool(moved) is (epoch > FROZEN), (name, epoch)
        learned = [key for key in moved if key.endswith(("weight", "gain", "low"))]
        assert learned and any("running_mean" in key for key in moved)
    first, second = (contents["state_dict"]["network.fusion.combine.gate.weight"] for contents in kept[:2])
    assert first.abs().max() > 0 and not torch.equal(first, second)
    log = (fused / "train.log").read_text()
    assert "model.branches.wave.ckpt=" in log and "its weights, of step 6" in log
    assert "of them until epoch 2 is over" in log and "epoch 3: what was frozen trains from here on" in log
    assert "specaugment is not for the waveform, which model.branches.wave.model.encoder takes" in log


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(STEPS + 3, marks=pytest.mark.slow),
        pytest.param(FROZEN * STEPS + 3, marks=pytest.mark.slow),  # that of the last step before they train
        FROZEN * STEPS + 6,
    ],
)
def test_a_killed_fusion_resumes_bit_for_bit(tmp_path, fused, training, write):
    """An epoch writes once more than it has steps."""
    run, left, _ = kill_and_resume(tmp_path, training, write, run_forked)
    assert left["global_step"] < last(fused)["global_step"]
    assert_equal_runs(run, fused)


def test_it_is_evaluated_without_its_branches_checkpoints(fused, folders, tmp_path):
    run = shutil.copytree(fused, tmp_path / "outputs" / "moved" / "1")
    contents = last(run)
    for name in BRANCHES:
        contents["config"]["model"]["branches"][name]["ckpt"] = "gone"
    torch.save(contents, run / "checkpoints" / "best.ckpt")
    given = ["num_workers=0", "bootstrap_draws=0", f"trials={folders.trials}", f"trials_root={folders.development}"]
    done = run_forked("evaluate.py", f"ckpt={run}", *given, "baselines=true", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (found,) = (row for row in rows(run, "test") if row.get("system", "model") == "model")
    assert float(found["eer"]) == pytest.approx(float(rows(run, "val")[-1]["eer"]), abs=1e-5)
    (log,) = run.glob("evaluation_*/evaluation.log")
    assert "XVector and SincNet of run tiny" in log.read_text()


def test_another_freezing_is_no_resumption(fused, training):
    """The optimizer has a state of other parameters."""
    other = [word for word in training if not word.startswith("fine_tuning.unfreeze")]
    done = run_forked("train.py", *other, f"ckpt={fused}", cwd=fused)
    assert done.rc == 1 and "fine_tuning" in done.stderr and done.stderr.count("\n") == 1


def test_a_branch_that_is_gone_stops_in_a_line(branches, small, tmp_path):
    words = training_on(branches | {"wave": tmp_path / "gone.ckpt"}, small)
    done = run_forked("train.py", *words, cwd=tmp_path)
    expected = f"error: model.branches.wave.ckpt={tmp_path / 'gone.ckpt'}: there is no such file\n"
    assert (done.rc, done.stderr) == (1, expected)
    assert not (tmp_path / "outputs").exists()


def test_several_processes_can_not_thaw(training, tmp_path):
    done = run_forked(
        "train.py", *training, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", cwd=tmp_path
    )
    assert done.rc == 1 and "fine_tuning.unfreeze_epoch is for one process" in done.stderr
