"""Two runs, and a third that fuses their networks: frozen at first, then not; killed and resumed; evaluated."""

import csv
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
    log = (fused / "logs" / "train.log").read_text()
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
    (log,) = run.glob("logs/evaluation_*.log")
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


# --- On saved embeddings


@pytest.fixture(scope="module")
def saved(tmp_path_factory, folders, small) -> Path:
    """Where a run of each branch over four of the six speakers lies, and what it gave for all six: a file, a folder."""
    cwd = tmp_path_factory.mktemp("saved")
    words = [word for word in small if not word.startswith(("data", "name"))]
    data = ["data=folder", f"data.root={folders.train}", "data.heldout_speakers=2", "data.heldout_trials=20"]
    for (name, overrides), place in zip(BRANCHES.items(), ("mel.parquet", "wave"), strict=True):
        done = run_forked("train.py", *words, *data, *overrides, f"name={name}", "trainer.max_epochs=1", cwd=cwd)
        assert done.rc == 0, done.stderr
        keep = [f"ckpt={runs(cwd, name)[0]}", f"save_embeddings={place}", "save_corpus=true"]
        done = run_forked("evaluate.py", *keep, *QUICK, cwd=cwd)
        assert done.rc == 0 and f"24 embeddings are in {place}" in done.stdout, done.stderr
    return cwd


QUICK = ["num_workers=0", "threads=1", "bootstrap_draws=0"]


def on_embeddings(saved: Path, *changes: str) -> list[str]:
    given = f"{{wave: {saved / 'wave'}, mel: {saved / 'mel.parquet'}}}"  # by name, in another order than the model's
    branches = ", ".join(f"{name}: {{ckpt: '{runs(saved, name)[0]}'}}" for name in BRANCHES)
    return [
        "data=embeddings",
        f"data.branches={given}",
        "model=fusion",
        f"model.branches={{{branches}}}",
        "model.fusion.embed_dim=8",
        "loss=fusion",
        "sampler.speakers_per_batch=2",
        "trainer=cpu",
        "trainer.precision=32-true",
        "threads=1",
        "name=tiny",
        "trainer.max_epochs=3",
        "callbacks.checkpoints.every_minutes=0.000001",
        *changes,
    ]


@pytest.fixture(scope="module")
def heard(saved) -> Path:
    """A fusion on saved embeddings that has its branches' networks."""
    done = run_forked("train.py", *on_embeddings(saved), cwd=saved)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    assert "training on saved embeddings of 16 utterances of 4 speakers" in done.stdout
    (run,) = runs(saved)
    return run


def scores_of(run: Path, name: str) -> list[float]:
    with open(run / "scores" / f"{name}.csv", newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


def test_what_a_fusion_learns_on_saved_embeddings_it_does_on_audio(heard, saved, tmp_path):
    """Its branches stay as they were; sounds and saved embeddings get the same scores, and those that training got."""
    for name in BRANCHES:
        start = torch.load(runs(saved, name)[0] / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        weights = of_branch(last(heard), name)
        assert all(torch.equal(value, start[f"network.{key}"]) for key, value in weights.items())
    run = shutil.copytree(heard, tmp_path / "run")
    shutil.copy(run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt")
    sources = f"embeddings=[{saved / 'mel.parquet'},{saved / 'wave'}]"
    for scoring, name in (("cosine", "development"), ("pair_mlp", "development_pair_mlp")):
        found = []
        for where in ([], [sources]):
            done = run_forked("evaluate.py", f"ckpt={run}", *where, f"scoring={scoring}", *QUICK, cwd=tmp_path)
            assert done.rc == 0, done.stderr
            found.append(scores_of(run, name))
        assert found[0] == pytest.approx(found[1], abs=1e-4) and len(set(found[0])) > 10
    first, *_ = rows(run, "test")
    assert float(first["eer"]) == pytest.approx(float(rows(run, "val")[-1]["eer"]), abs=1e-5)
    assert first["scoring"] == "cosine" and rows(run, "test")[-1]["scoring"] == "pair_mlp"
    done = run_forked("evaluate.py", f"ckpt={run}", f"embeddings={{wave: {saved / 'wave'}}}", *QUICK, cwd=tmp_path)
    assert done.rc == 0 and "without branch mel, which embeddings leaves out" in done.stdout, done.stderr
    assert scores_of(run, "development_without_mel") != found[1]
    some = [f"embeddings={{wave: {saved / 'wave'}}}", "save_calibration=true"]
    done = run_forked("evaluate.py", f"ckpt={run}", *some, *QUICK, cwd=tmp_path)
    assert done.stderr == "error: save_calibration=true keeps one of the whole fusion: give embeddings of mel too\n"


def test_a_killed_one_resumes_bit_for_bit(tmp_path, saved, heard):
    """An epoch has four steps, each of which writes once, and so does its end."""
    run, left, _ = kill_and_resume(tmp_path, on_embeddings(saved), 7, run_forked)
    assert left["global_step"] < last(heard)["global_step"]
    assert_equal_runs(run, heard)


def test_without_its_branches_networks_it_hears_nothing(saved, tmp_path):
    words = [word for word in on_embeddings(saved) if not word.startswith("model.branches")]
    given = ", ".join(f"{name}: {{overrides: {overrides}}}" for name, overrides in BRANCHES.items())
    split = ["data.split={train: .5, val: .25, test: .25}", "task=identification"]
    command = [*words, f"model.branches={{{given}}}", *split]
    done = run_forked("train.py", *command, cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    (run,) = runs(tmp_path)
    kept = last(run)["state_dict"]
    assert not any(key.startswith("network.branches") for key in kept)  # random weights, which nothing would use
    done = run_forked("train.py", *command, "trainer.max_epochs=4", f"ckpt={run}", cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    assert last(run)["state_dict"].keys() == kept.keys() and len(rows(run, "val")) == 4
    done = run_forked("evaluate.py", f"ckpt={run}", *QUICK, cwd=tmp_path)
    assert done.rc == 1 and done.stderr.count("\n") == 1
    assert "trained on saved embeddings and holds no trained network for audio (mel, wave)" in done.stderr
    sources = f"embeddings=[{saved / 'mel.parquet'},{saved / 'wave'}]"
    done = run_forked("evaluate.py", f"ckpt={run}", sources, "split=val", *QUICK, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (found,) = rows(run, "test")
    best = min(rows(run, "val"), key=lambda row: float(row["error_rate"]))
    assert float(found["accuracy"]) == pytest.approx(float(best["accuracy"]), abs=1e-5) and found["utterances"] == "6"


def test_one_networks_own_embeddings_train_its_loss_alone(saved, tmp_path):
    words = ["data=embeddings", f"data.branches=[{saved / 'wave'}]", *BRANCHES["wave"], "loss=decision_mlp"]
    start = runs(saved, "wave")[0] / "checkpoints" / "best.ckpt"
    words += [f"fine_tuning.ckpt={start}", "name=tiny", "trainer=cpu", "sampler.batch_size=4", "trainer.max_epochs=2"]
    done = run_forked("train.py", *words, cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, ""), done.stderr
    (run,) = runs(tmp_path)
    before, after = torch.load(start, weights_only=True)["state_dict"], last(run)["state_dict"]
    assert all(torch.equal(value, before[key]) for key, value in after.items() if key.startswith("network."))
    first, second = rows(run, "val")
    assert first["eer"] == second["eer"] and rows(run, "train")[0]["loss"] != rows(run, "train")[1]["loss"]
