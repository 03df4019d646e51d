"""The scripts as a user runs them: real processes on a corpus of seconds, killed and resumed for real."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from processes import ROOT, Finished, run_forked, run_new

from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import read_embeddings, write_embeddings
from speakerlab.data.manifest import read_manifest, write_manifest
from speakerlab.data.scan import scan_folder
from speakerlab.data.splits import with_split

EPOCHS, STEPS = 4, 6  # steps an epoch: 24 utterances in batches of 4
SPEED = ("utterances_per_second", "data_wait_share")  # columns that differ from run to run


def rows(run: Path, name: str) -> list[dict[str, str]]:
    """Rows of `metrics/<name>_metrics.csv`, without what depends on the machine's mood."""
    with open(run / "metrics" / f"{name}_metrics.csv", newline="") as file:
        return [{key: row[key] for key in row if key not in SPEED} for row in csv.DictReader(file)]


def runs(folder: Path, name: str = "tiny") -> list[Path]:
    return sorted((folder / "outputs" / name).glob("*/"))


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def same(first, second) -> bool:
    """Bit for bit, however nested."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.fixture(scope="module")
def training(folders, tiny) -> list[str]:
    """Four epochs with every kind of augmentation, in which each step writes a checkpoint."""
    return [
        *folders.overrides(),
        *tiny,
        "name=tiny",
        f"trainer.max_epochs={EPOCHS}",
        "augment=heavy",
        "+augment/mixup=mixup",
        "loader.num_workers=1",
        "callbacks.checkpoints.every_minutes=0.000001",
    ]


@dataclass(frozen=True)
class Trained:
    """A finished run: where it was started, what it said, and its folder."""

    cwd: Path
    finished: Finished
    run: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, training) -> Trained:
    cwd = tmp_path_factory.mktemp("trained")
    finished = run_forked("train.py", *training, cwd=cwd)
    assert finished.rc == 0, finished.stderr
    return Trained(cwd, finished, runs(cwd)[0])


# --- Quick answers


@pytest.mark.parametrize("script, key", [("train.py", "ckpt"), ("evaluate.py", "ckpt"), ("sweep.py", "n_trials")])
def test_help_imports_nothing_heavy(tmp_path, script, key):
    done = run_new(script, "--help", cwd=tmp_path, options=("-X", "importtime"))
    assert done.rc == 0
    assert key in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "omegaconf" in imported
    assert not imported & {"torch", "torchaudio", "pytorch_lightning", "lightning_fabric", "matplotlib", "scipy"}
    assert not list(tmp_path.iterdir())


def test_each_script_has_its_own_help(tmp_path):
    train, evaluate = (run_new(script, "--help", cwd=tmp_path).stdout for script in ("train.py", "evaluate.py"))
    assert "python train.py [group=member" in train and "ckpt=last goes on" in train and "== Groups" in train
    assert "python evaluate.py ckpt=" in evaluate and "ckpt=last" not in evaluate and "== Groups" not in evaluate


def test_a_reader_that_stops_reading(tmp_path):
    command = f"{sys.executable} -u {ROOT / 'train.py'} --help | true"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60.0)
    assert done.stderr == ""


def assert_refused(done: Finished, *expected: str) -> None:
    """Exit status 1 and one line that says what is wrong."""
    assert done.rc == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert all(part in done.stderr for part in expected), done.stderr


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["train.py", "loss.margni=0.3"], ["'loss.margni'", "did you mean loss.margin?"]),
        (["train.py", "model=ecappa"], ["model=ecappa", "did you mean ecapa?"]),
        (["train.py", "model=[ecapa,ecapa_c1024]"], ["model=[ecapa,ecapa_c1024]", "one member"]),
        (["train.py", "data=folder"], ["data.root must be given"]),
        (["evaluate.py"], ["ckpt"]),
        (["sweep.py", "n_trails=5"], ["'n_trails'", "did you mean n_trials?"]),
        (["sweep.py", "model=xvector"], ["nothing to search"]),
        (["sweep.py", "-m", "sweep=margin"], ["-m is for train.py"]),
    ],
)
def test_a_typo_stops_a_real_process(tmp_path, arguments, expected):
    assert_refused(run_new(*arguments, cwd=tmp_path), *expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["+loss.margni=0.3"], ["loss.margni", "conf/loss/aam.yaml", "did you mean margin?"]),
        (["loss.margin=wide"], ["loss.margin='wide'", "must be float"]),
        (["loss.margin=4"], ["loss: margin=4", "pi"]),
        (["loss._target_=torch.load"], ["loss._target_", "torch.load"]),
        (["trainer.precision=16-mixed"], ["trainer.precision=16-mixed", "needs a GPU"]),
        (["data.root=NOWHERE"], ["NOWHERE", "no such folder"]),
        (["data.trials=NOWHERE.txt"], ["NOWHERE.txt"]),
        (["ckpt=NOWHERE.ckpt"], ["NOWHERE.ckpt", "no such file"]),
        (["threads=0"], ["threads=0"]),
        (["~logger"], ["logger is missing"]),
        (["cache_dir=/dev/null/x"], ["cache_dir=/dev/null/x", "can't be made"]),
        (["data.root=3"], ["data.root=3 must be str or list of str"]),
        (["optimizer.lr=abc"], ["optimizer.lr='abc' must be float"]),
        (["data.heldout_trials=1", "data.trials=null", "data.trials_root=null"], ["data: heldout_trials=1"]),
        (["data.max_bad_share=2"], ["data: max_bad_share=2"]),
        (["data.min_seconds=nan"], ["data: min_seconds=nan"]),
    ],
)
def test_bad_values_stop_training(tmp_path, folders, tiny, arguments, expected):
    done = run_forked("train.py", *folders.overrides(), *tiny, *arguments, cwd=tmp_path)
    assert_refused(done, *expected)
    assert not (tmp_path / "outputs").exists()


def test_bad_trial_lists_stop_training(tmp_path, folders, tiny):
    lines = folders.trials.read_text().splitlines()
    missing = tmp_path / "missing.txt"
    missing.write_text("\n".join([*lines[:3], "1 s0/a/0.flac s0/a/nowhere.flac", *lines[3:]]))
    done = run_forked("train.py", *folders.overrides(), *tiny, f"data.trials={missing}", cwd=tmp_path)
    assert_refused(done, "missing.txt", "s0/a/nowhere.flac (line 4)")
    seen = [f"data.trials_root={folders.train}"]
    assert_refused(
        run_forked("train.py", *folders.overrides(), *tiny, *seen, cwd=tmp_path), "belong to training speakers"
    )
    assert not (tmp_path / "outputs").exists()


def test_a_broken_file_stops_training_where_it_is_met(tmp_path, folders, tiny):
    """Its header is whole, so that the scan took it; the worker that decodes it names it."""
    shutil.copytree(folders.train, tmp_path / "train")
    for path in (tmp_path / "train").rglob("*.flac"):
        content = path.read_bytes()
        path.write_bytes(content[:200] + bytes(len(content) - 200))
    broken = [f"data.root={tmp_path / 'train'}", "loader.num_workers=1", "trainer.max_epochs=1"]
    assert_refused(run_forked("train.py", *folders.overrides(), *tiny, *broken, cwd=tmp_path), ".flac")


def test_a_diverged_run_stops(tmp_path, folders, tiny):
    wild = ["optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant", "trainer.gradient_clip_val=null"]
    done = run_forked("train.py", *folders.overrides(), *tiny, *wild, "trainer.max_epochs=3", cwd=tmp_path)
    assert_refused(done, "training diverged", "lower optimizer.lr")


# --- A run from its start to its report


def test_a_run_leaves_its_files(trained, training):
    run = trained.run
    assert json.loads((run / "status.json").read_text())["status"] == "finished"
    assert "name: tiny" in (run / "config.yaml").read_text() and "${" not in (run / "config.yaml").read_text()
    assert "train.py" in (run / "command.txt").read_text() and training[-1] in (run / "command.txt").read_text()
    assert json.loads((run / "environment.json").read_text())["libraries"]["torch"]
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["best.ckpt", "last.ckpt"]
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    assert (run / "plots" / "training.png").stat().st_size > 1000
    assert "<html" in (run / "report.html").read_text()[:200]
    assert len((run / "trials" / "development.txt").read_text().splitlines()) == 36
    assert "epoch 4/4" in (run / "logs" / "train.log").read_text()
    assert trained.finished.stderr == ""
    assert all(f"epoch {epoch}/{EPOCHS}" in trained.finished.stdout for epoch in range(1, EPOCHS + 1))


def test_metrics_have_a_row_an_epoch(trained):
    train, val = rows(trained.run, "train"), rows(trained.run, "val")
    steps = [str(STEPS * (epoch + 1)) for epoch in range(EPOCHS)]
    assert [row["step"] for row in train] == [row["step"] for row in val] == steps
    assert [row["epoch"] for row in train] == [row["epoch"] for row in val] == ["1", "2", "3", "4"]
    assert all(0 <= float(row["eer"]) <= 1 for row in val)
    assert [row["margin"] for row in train][-1] == "0.2"


def test_tensorboard_has_every_metric(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained.run / "tensorboard"))
    events.Reload()
    assert {"val/eer", "val/min_dcf_0.01", "val/min_dcf_0.05", "val/threshold"} <= set(events.Tags()["scalars"])
    eer = [event.value for event in events.Scalars("val/eer")]
    assert eer == pytest.approx([float(row["eer"]) for row in rows(trained.run, "val")], abs=1e-6)
    assert [image.step for image in events.Images("val/det")] == [STEPS * (epoch + 1) for epoch in range(EPOCHS)]
    last = EventAccumulator(str(trained.run / "tensorboard" / "development")).Reload()
    assert [image.step for image in last.Images("last_epoch/scores")] == [STEPS * EPOCHS]
    assert (trained.run / "tensorboard" / "development" / "projector_config.pbtxt").is_file()


def as_written(value: str) -> float:
    """To the digits that `val_metrics.csv` holds."""
    return float(f"{float(value):.6g}")


def evaluated(folder: Path) -> dict[str, str]:
    """The one row of a folder's `test_metrics.csv`."""
    with open(folder / "metrics" / "test_metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    return row


def scored(folder: Path, name: str = "development") -> list[dict[str, str]]:
    with open(folder / "scores" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_evaluation_repeats_the_best_epoch(trained, folders, tmp_path):
    best = min(rows(trained.run, "val"), key=lambda row: float(row["eer"]))
    run = shutil.copytree(trained.run, tmp_path / "run")
    done = run_forked("evaluate.py", f"ckpt={run}", "num_workers=0", "threads=1", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    row = evaluated(run)
    for name in ("eer", "min_dcf_0.01", "min_dcf_0.05", "threshold"):
        assert as_written(row[name]) == pytest.approx(float(best[name]), rel=1e-5), name
    assert as_written(row["eer"]) == float(best["eer"])
    assert row["checkpoint"].endswith("best.ckpt") and (row["targets"], row["nontargets"]) == ("9", "27")
    scores = scored(run)
    assert [f"{row['label']} {row['enrol']} {row['test']}" for row in scores] == folders.trials.read_text().splitlines()
    assert all(-1 <= float(row["score"]) <= 1 for row in scores)
    page = (run / "evaluation_development" / "report.html").read_text()
    assert all(f"<h2>{heading}</h2>" in page for heading in ("ROC", "Worst false rejects", "Attention to mistakes"))
    assert f'src="{(folders.development / "s0").as_uri()}/' in page and page.count("<details>") == 3

    # The checkpoint alone, elsewhere, with everything that the run's folder knew given.
    alone = tmp_path / "elsewhere" / "model.ckpt"
    alone.parent.mkdir()
    shutil.copy(run / "checkpoints" / "best.ckpt", alone)
    shutil.rmtree(run)
    given = [f"ckpt={alone}", f"trials={folders.trials}", f"trials_root={folders.development}"]
    done = run_forked("evaluate.py", *given, "num_workers=0", "threads=1", "output_dir=out", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert evaluated(tmp_path / "out")["eer"] == row["eer"]
    assert scored(tmp_path / "out") == scores


def test_an_evaluation_tells_in_a_log_what_it_did(trained, tmp_path):
    """The second one finds every embedding in the cache, and says the same."""
    run = shutil.copytree(trained.run, tmp_path / "run")
    logs = run / "logs" / "evaluation_development.log"
    given = [f"ckpt={run}", "num_workers=0", "threads=1", f"cache_dir={tmp_path / 'cache'}", "bootstrap_draws=0"]
    for embedded in (9, 0):
        done = run_forked("evaluate.py", *given, cwd=tmp_path)
        assert done.rc == 0, done.stderr
        lines = [line[24:] for line in logs.read_text().splitlines()]
        assert lines[0].startswith("python ") and "evaluate.py" in lines[0] and given[-1] in lines[0]
        assert any(line.startswith(f"model: {embedded} utterances embedded") for line in lines)
        assert any(line.startswith("model on ") and "eer " in line for line in lines)
        assert lines[-1].startswith("finished after ")
    assert lines[-2].partition("model on ")[2] and len([line for line in lines if line.startswith("model on ")]) == 2
    with open(run / "metrics" / "test_metrics.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert {**first, "date": ""} == {**second, "date": ""}
    train = [line[24:] for line in (run / "logs" / "train.log").read_text().splitlines()]
    assert train[0].startswith("python ") and train[1].startswith("speakerlab ") and "device cpu" in train[3]
    assert train[-1].startswith("finished after ")


@pytest.mark.slow
def test_two_processes_embed_as_one(trained, folders, tmp_path):
    given = [f"ckpt={trained.run}", "num_workers=0", "threads=1", "cache_gigabytes=0", "bootstrap_draws=0"]
    for processes, out in ((1, "one"), (2, "two")):
        done = run_new(
            *("evaluate.py", *given, "device=cpu", f"processes={processes}", f"output_dir={out}"),
            f"save_embeddings={out}/saved.npz",
            cwd=tmp_path,
        )
        assert done.rc == 0, done.stderr
    one, two = (read_embeddings(str(tmp_path / out / "saved.npz")) for out in ("one", "two"))
    assert one.names == two.names and (one.rows == two.rows).all()


@pytest.mark.parametrize("place", ["saved.ark", "folder"])
def test_saved_embeddings_are_evaluated_alone(trained, folders, tmp_path, place):
    given = ["num_workers=0", "threads=1", "bootstrap_draws=0"]
    first = [f"ckpt={trained.run}", f"save_embeddings={place}", "output_dir=out"]
    done = run_forked("evaluate.py", *first, *given, cwd=tmp_path)
    assert done.rc == 0 and f"9 embeddings are in {place}" in done.stdout, done.stderr
    done = run_forked("evaluate.py", f"embeddings={place}", f"trials={folders.trials}", *given, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    folder = tmp_path / "outputs" / "evaluate" / place.partition(".")[0]
    mine, other = evaluated(folder), evaluated(tmp_path / "out")
    assert (mine["eer"], mine["threshold"]) == (other["eer"], other["threshold"])
    assert (folder / "scores" / "development.csv").read_text() == (tmp_path / "out/scores/development.csv").read_text()
    assert "<html" in (folder / "evaluation_development" / "report.html").read_text()[:200]

    trials = tmp_path / "more.txt"
    trials.write_text("1 s0/a/0.flac s0/a/1.wav\n0 s0/a/0.flac s9/a/0.flac\n")
    done = run_forked("evaluate.py", f"embeddings={place}", f"trials={trials}", *given, cwd=tmp_path)
    assert_refused(done, "1 of the 3 utterances of", "have no embedding: s9/a/0.flac")


def test_speakers_are_enrolled_by_a_split_or_a_file(trained, folders, tmp_path):
    """Of speakers who were not trained on; from a checkpoint, and from what it saved."""
    scan = scan_folder(folders.development, tmp_path / "cache", min_seconds=0.1, stereo="mix", max_bad_share=0.0)
    table = scan.manifest
    parts = ["test" if name.endswith("2.flac") else "train" for name in table["utterance"].to_pylist()]
    write_manifest(with_split(table, pa.array(parts)), tmp_path / "m.parquet")
    given = ["num_workers=0", "threads=1", "bootstrap_draws=0", "neighbours=3"]
    first = [f"ckpt={trained.run}", "enrolment=train", "save_embeddings=saved.parquet", "output_dir=out"]
    done = run_forked("evaluate.py", "manifest=m.parquet", *first, *given, cwd=tmp_path)
    assert done.rc == 0 and "enrolment_test: 3 utterances, 3 speakers" in done.stdout, done.stderr
    with open(tmp_path / "out" / "metrics" / "test_metrics.csv", newline="") as file:
        centroid, neighbours, claimed = csv.DictReader(file)
    assert claimed["eer"] and not claimed["accuracy"] and centroid["accuracy"] and not centroid["eer"]
    assert (centroid["system"], neighbours["system"]) == ("centroid", "neighbours")
    with open(tmp_path / "out" / "scores" / "enrolment_test_centroid_predictions.csv", newline="") as file:
        predictions = list(csv.DictReader(file))
    right = sum(row["speaker"] == row["predicted"] for row in predictions)
    assert float(centroid["accuracy"]) == pytest.approx(right / 3) and len(predictions) == 3
    claims = (tmp_path / "out" / "scores" / "enrolment_test_claims.csv").read_text().splitlines()
    assert [line[0] for line in claims].count("1") == 3 and len(claims) == 1 + 9

    again = ["embeddings=saved.parquet", "manifest=m.parquet"]
    done = run_forked("evaluate.py", *again, *given, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    saved = read_embeddings(str(tmp_path / "saved.parquet"))
    assert sorted(saved.names) == sorted(table["utterance"].to_pylist()) and set(saved.speakers) == {"s0", "s1", "s2"}
    for part in ("train", "test"):
        rows = [i for i, name in enumerate(saved.names) if parts[table["utterance"].to_pylist().index(name)] == part]
        some = checked([saved.names[i] for i in rows], saved.rows[rows], part, [saved.speakers[i] for i in rows])
        write_embeddings(tmp_path / f"{part}.pkl", some)
    done = run_forked("evaluate.py", "embeddings=test.pkl", "enrolment=train.pkl", *given, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    for name, part in (("saved", "test"), ("test", "test")):
        scores = tmp_path / "outputs" / "evaluate" / name / "scores" / f"enrolment_{part}_claims.csv"
        assert scores.read_text().splitlines() == claims


def test_a_pickle_that_attacks_is_refused(folders, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"(S'touch attacked'\nios\nsystem\n.")
    done = run_forked("evaluate.py", "embeddings=x.pkl", f"trials={folders.trials}", cwd=tmp_path)
    assert_refused(done, "x.pkl: this pickle is refused: it names os.system, and to read that could run code")
    assert not (tmp_path / "attacked").exists()


def test_bad_input_stops_an_evaluation(trained, folders, tmp_path):
    broken = tmp_path / "broken.ckpt"
    whole = (trained.run / "checkpoints" / "best.ckpt").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    trials = tmp_path / "trials.txt"
    trials.write_text("1 s0/a/0.flac s0/a/1.flac\n0 s0/a/0.flac s9/a/0.flac\n")
    best = f"ckpt={trained.run / 'checkpoints' / 'best.ckpt'}"
    for arguments, expected in [
        ([f"ckpt={broken}"], ["broken.ckpt", "can't be read as a checkpoint"]),
        (["ckpt=NOWHERE"], ["NOWHERE", "no such file"]),
        ([f"ckpt={tmp_path}"], [str(tmp_path), "holds no checkpoints/best.ckpt"]),
        ([best, f"trials={trials}", f"trials_root={folders.development}"], ["s9/a/0.flac (line 2)"]),
        ([best, "device=tpu"], ["device=tpu"]),
        ([best, "trials_root=3"], ["trials_root", "'3'"]),
        ([best, "bootstrap_draws=1"], ["bootstrap_draws=1 must be at least 100"]),
        ([best, "operating_points=[2]"], ["operating point 2 is neither a prior"]),
        ([f"ckpt={trials}"], ["trials.txt is damaged or none: it can't be read as a checkpoint"]),
        (["ckpt="], ["ckpt= is empty"]),
    ]:
        done = run_forked("evaluate.py", *arguments, "num_workers=0", "output_dir=out", cwd=tmp_path)
        assert_refused(done, *expected)
    assert not (tmp_path / "out").exists()
    for arguments, expected in [
        ([best, "output_dir=/dev/null/x"], ["output_dir=/dev/null/x", "can't be made"]),
        ([best, "model=ecapa"], ["unknown key 'model'"]),
    ]:
        done = run_forked("evaluate.py", *arguments, "num_workers=0", cwd=tmp_path)
        assert_refused(done, *expected)
        assert "embedding" not in done.stdout


def test_recipes_of_scoring_and_what_a_checkpoint_keeps_of_them(trained, folders, tmp_path):
    """Calibrated on development trials by one recipe, then applied to others; scores of two recipes fused."""
    run, quick = shutil.copytree(trained.run, tmp_path / "run"), ["num_workers=0", "threads=1", "bootstrap_draws=0"]
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)

    def evaluate(*arguments: str) -> Finished:
        done = run_forked("evaluate.py", *arguments, *quick, cwd=tmp_path)
        assert done.rc == 0, done.stderr
        return done

    asnorm = [f"ckpt={run}", "scoring=asnorm", "scoring.top_n=4"]
    done = evaluate(*asnorm, "save_calibration=true")
    assert "calibrated by these very trials" in done.stdout and "model, calibrated" in done.stdout
    rows = scored(run, "development_asnorm4")
    assert max(abs(float(row["score"])) for row in rows) > 1  # deviations above impostors, and no cosines
    kept = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    (slope,), offset = (
        kept["score_calibration"]["calibration"]["weights"],
        kept["score_calibration"]["calibration"]["offset"],
    )
    for row in rows:
        assert float(row["llr"]) == pytest.approx(slope * float(row["score"]) + offset, abs=1e-5)
    del kept["score_calibration"]
    assert same(kept, best)

    few = tmp_path / "few.txt"
    few.write_text("".join(folders.trials.read_text().splitlines(keepends=True)[:20]))
    given = [f"trials={few}", f"trials_root={folders.development}"]
    done = evaluate(*asnorm, *given)
    assert "calibrated by" in done.stdout and "of the targets here" in done.stdout
    for row, before in zip(scored(run, "few_asnorm4"), rows, strict=False):
        assert float(row["llr"]) == pytest.approx(float(before["llr"]), abs=1e-4)
    done = evaluate(f"ckpt={run}", "scoring=plda", "output_dir=plda")
    assert "of another recipe and not applied: scoring.backend was cosine and is plda" in done.stdout
    assert "llr" not in scored(tmp_path / "plda", "development_plda")[0]
    evaluate(f"ckpt={run}", "scoring=full_and_five_crops", "scoring.crop_seconds=0.4", "output_dir=crops")

    two = [
        tmp_path / "run" / "scores" / "development_asnorm4.csv",
        tmp_path / "plda" / "scores" / "development_plda.csv",
    ]
    done = evaluate(f"scores=[{two[0]},{two[1]}]", f"development_scores=[{two[0]},{two[1]}]", "output_dir=fused")
    assert "log-likelihood ratio = " in done.stdout and "development_asnorm4" in done.stdout
    assert len(scored(tmp_path / "fused", "fusion")) == 36
    with open(tmp_path / "fused" / "metrics" / "test_metrics.csv", newline="") as file:
        assert next(csv.DictReader(file))["system"] == "fusion"


def test_scoring_refuses_what_it_cannot_do(trained, folders, tmp_path):
    best = f"ckpt={trained.run}"
    cohort = f"scoring.cohort={folders.development}"
    for arguments, expected in [
        ([], ["ckpt must be given: add ckpt="]),
        ([best, "scoring=pdla"], ["scoring=pdla", "did you mean plda?"]),
        ([best, "+scoring.topn=3"], ["scoring.topn"]),
        ([best, "scoring.norm=as"], ["scoring.norm=as must be one of none, z, t, s"]),
        ([best, "scoring=asnorm"], ["scoring.top_n=300: the cohort has 6 impostors"]),
        ([best, "scoring=snorm", cohort], ["3 of its 3 speakers are in the trials"]),
        (["scores=NOWHERE.csv"], ["NOWHERE.csv: there is no such file of scores"]),
        ([best, f"scores={folders.trials}"], ["both say what to evaluate"]),
        ([f"scores={folders.trials}"], ["line 1: the score is no finite number"]),
    ]:
        done = run_forked("evaluate.py", *arguments, "num_workers=0", "output_dir=out", cwd=tmp_path)
        assert_refused(done, *expected)


# --- Closed-set identification


@pytest.fixture(scope="module")
def identifying(folders, tiny) -> list[str]:
    """Six speakers, of whose four utterances each two are trained on."""
    split = ["data.split={train: .5, val: .25, test: .25}", "data.split_by=utterance"]
    small = ["name=tiny", "trainer.max_epochs=3", "augment=voxceleb"]  # speed makes three voices of each speaker
    return ["task=identification", "data=folder", f"data.root={folders.train}", *split, *tiny, *small]


@pytest.fixture(scope="module")
def identified(tmp_path_factory, identifying) -> Trained:
    cwd = tmp_path_factory.mktemp("identified")
    finished = run_forked("train.py", *identifying, cwd=cwd)
    assert finished.rc == 0, finished.stderr
    return Trained(cwd, finished, runs(cwd)[0])


def named(run: Path, part: str) -> list[dict[str, str]]:
    with open(run / "scores" / f"identification_{part}_predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_identification_is_measured_while_training(identified):
    val = rows(identified.run, "val")
    assert [row["epoch"] for row in val] == ["1", "2", "3"]
    for row in val:
        assert float(row["accuracy"]) * 6 == pytest.approx(round(float(row["accuracy"]) * 6), abs=1e-4)
        assert float(row["error_rate"]) == pytest.approx(1 - float(row["accuracy"]), abs=1e-5)
        assert float(row["accuracy"]) <= float(row["top5_accuracy"]) <= 1
    with open(identified.run / "metrics" / "confusion.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    for row in val:
        counts = {(c["speaker"], c["named"]): int(c["utterances"]) for c in cells if c["step"] == row["step"]}
        right = sum(count for (speaker, named), count in counts.items() if speaker == named)
        assert sum(counts.values()) == 6 and float(row["accuracy"]) == pytest.approx(right / 6, abs=1e-5)
    assert identified.finished.stderr == "" and "validation accuracy" in identified.finished.stdout
    assert sorted(path.name for path in (identified.run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert "identification of 6 speakers; utterances: train 12, val 6, test 6" in identified.finished.stdout
    assert not (identified.run / "trials").exists()


def test_identification_is_evaluated_from_the_checkpoint(identified, tmp_path):
    run = shutil.copytree(identified.run, tmp_path / "run")
    best = min(rows(run, "val"), key=lambda row: float(row["error_rate"]))
    for arguments in (["split=val"], []):
        done = run_forked("evaluate.py", f"ckpt={run}", *arguments, "num_workers=0", "threads=1", cwd=tmp_path)
        assert done.rc == 0, done.stderr
    with open(run / "metrics" / "test_metrics.csv", newline="") as file:
        val, test = csv.DictReader(file)
    for name in ("accuracy", "top5_accuracy", "macro_f1", "error_rate"):
        assert as_written(val[name]) == float(best[name]), name  # to the digit what training measured
    for metrics, predictions in ((val, named(run, "val")), (test, named(run, "test"))):
        right = [row["speaker"] == row["predicted"] for row in predictions]
        assert [row["rank"] == "1" for row in predictions] == right
        assert float(metrics["accuracy"]) == pytest.approx(sum(right) / 6) and metrics["utterances"] == "6"
        assert sorted(row["speaker"] for row in predictions) == [f"s{i}" for i in range(6)]
        assert all(row["utterance"].startswith(row["speaker"]) for row in predictions)
    assert not {row["utterance"] for row in named(run, "val")} & {row["utterance"] for row in named(run, "test")}
    assert "<html" in (run / "evaluation_identification_test" / "report.html").read_text()[:200]

    # The checkpoint alone, elsewhere, with its utterances given; and as a network for trials.
    alone = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "model.ckpt")
    given = [f"manifest={shutil.copy(run / 'utterances' / 'test.parquet', tmp_path)}", "output_dir=out"]
    done = run_forked("evaluate.py", f"ckpt={alone}", *given, "num_workers=0", "threads=1", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert named(tmp_path / "out", "test") == named(run, "test")


def test_identification_refuses_what_it_cannot_do(identified, identifying, folders, tmp_path):
    best = f"ckpt={identified.run}"
    strange = tmp_path / "strange.parquet"
    table = read_manifest(identified.run / "utterances" / "test.parquet")
    write_manifest(table.set_column(1, "speaker", pa.array(["eve"] * len(table))), strange)
    for arguments, expected in [
        ([best, "baselines=true"], ["baselines=true is for trials"]),
        ([best, "split=dev"], ["split=dev must be val or test"]),
        ([best, f"trials={folders.trials}", "split=val"], ["both say what to evaluate on"]),
        ([best, f"manifest={strange}"], ["speaker 'eve' is not among the 6 known speakers"]),
        ([best, f"manifest={strange}", "split=val"], ["has no utterance of split 'val'"]),
    ]:
        assert_refused(run_forked("evaluate.py", *arguments, "num_workers=0", cwd=tmp_path), *expected)
    for arguments, expected in [
        (["data.split_by=speaker"], ["a split by speaker leaves none to recognise"]),
        (["data.split=null"], ["task=identification tells training speakers apart"]),
        (["task=verification"], ["judged on speakers that are not trained on"]),
        (["callbacks.identification=null"], ["callbacks.identification can't be null"]),
    ]:
        assert_refused(run_forked("train.py", *identifying, *arguments, cwd=tmp_path), *expected)
    assert not (tmp_path / "outputs").exists()


def test_trials_of_an_identifying_network(identified, folders, tmp_path):
    given = [f"trials={folders.trials}", f"trials_root={folders.development}", "output_dir=out", "bootstrap_draws=0"]
    done = run_forked("evaluate.py", f"ckpt={identified.run}", *given, "num_workers=0", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert evaluated(tmp_path / "out")["targets"] == "9"


def test_a_split_by_speaker_has_test_trials(folders, tiny, tmp_path):
    split = ["data.split={train: .34, val: .33, test: .33}", "data.split_by=speaker", "data.heldout_trials=12"]
    given = ["data=folder", f"data.root={folders.train}", *split, *tiny, "name=tiny", "trainer.max_epochs=1"]
    done = run_forked("train.py", *given, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (run,) = runs(tmp_path)
    done = run_forked("evaluate.py", f"ckpt={run}", "split=test", "num_workers=0", "bootstrap_draws=0", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert evaluated(run)["trials"].endswith("trials/test.txt")
    lists = [(run / "trials" / f"{name}.txt").read_text().split() for name in ("development", "test")]
    speakers = [{word.split("/")[0] for word in words if "/" in word} for words in lists]
    assert [len(group) for group in speakers] == [2, 2] and not speakers[0] & speakers[1]


# --- Killed and resumed


def kill_and_resume(
    tmp_path: Path, training: list[str], write: int, resume: Callable[..., Finished]
) -> tuple[Path, dict, Finished]:
    """The run's folder, the checkpoint that the kill left, and what the resumed command said.

    The process is killed when `last.ckpt` is complete under another name for the `write`-th time.
    """
    killed = run_forked("train.py", *training, cwd=tmp_path, kill=("last.ckpt", write))
    assert killed.rc == -9
    (run,) = runs(tmp_path)
    left = last(run)
    assert json.loads((run / "status.json").read_text())["status"] == "running"
    done = resume("train.py", *training, "ckpt=last", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert runs(tmp_path) == [run], "the resumed run got a folder of its own"
    assert "continuing" in done.stdout
    assert json.loads((run / "status.json").read_text())["status"] == "finished"
    return run, left, done


def assert_equal_runs(run: Path, reference: Path) -> None:
    mine, other = last(run), last(reference)
    assert same(mine["state_dict"], other["state_dict"])
    assert same(mine["optimizer_states"], other["optimizer_states"])
    assert same(mine["random_state"], other["random_state"])
    assert mine["global_step"] == other["global_step"]
    assert rows(run, "train") == rows(reference, "train")
    assert rows(run, "val") == rows(reference, "val")
    best = [torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True) for folder in (run, reference)]
    assert same(best[0]["state_dict"], best[1]["state_dict"])


@pytest.mark.parametrize(
    "write, resume",
    [
        # In the middle of epoch 2. The resumed process is started anew: another hash seed, another address space.
        (STEPS + 3, run_new),
        # At the end of epoch 2, whose rows are in the CSV files but whose checkpoint is not.
        (2 * STEPS, run_forked),
        # In the first step of epoch 3: what is left is the checkpoint at the end of epoch 2.
        pytest.param(2 * STEPS + 1, run_forked, marks=pytest.mark.slow),
    ],
    ids=["mid-epoch", "before the epoch's checkpoint", "after it"],
)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, trained, training, write, resume):
    run, left, done = kill_and_resume(tmp_path, training, write, resume)
    assert left["global_step"] == write - 1
    assert_equal_runs(run, trained.run)
    assert "epoch 1/4" not in done.stdout and "epoch 4/4" in done.stdout
    assert len((run / "command.txt").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit_under_accumulation(tmp_path, training):
    """Five batches an epoch, two a step: the last step of an epoch has one. bfloat16, as CPUs with it train."""
    training = [
        *training,
        "sampler.batch_size=5",
        "trainer.accumulate_grad_batches=2",
        "trainer.precision=bf16-mixed",
        "callbacks.verification.every_n_epochs=2",
    ]
    assert run_forked("train.py", *training, cwd=tmp_path / "reference").rc == 0
    (reference,) = runs(tmp_path / "reference")
    assert last(reference)["global_step"] == 3 * EPOCHS
    assert [row["epoch"] for row in rows(reference, "val")] == ["2", "4"]
    for write in (2, 5, 7):
        run, left, _ = kill_and_resume(tmp_path / str(write), training, write, run_forked)
        assert left["global_step"] == write - 1
        assert_equal_runs(run, reference)


@pytest.mark.slow
def test_a_killed_second_stage_resumes_bit_for_bit(tmp_path, trained, training):
    """Batch norms frozen, a rate that follows what was measured, AdaCos' scale, centres with Adagrad, and averages."""
    start = trained.run / "checkpoints" / "last.ckpt"
    training = [
        *(word for word in training if not word.startswith("+augment/mixup")),
        f"fine_tuning.ckpt={start}",
        "fine_tuning.freeze_batch_norms=true",
        "loss=adacos",
        "regulariser=contrastive_center",
        "optimizer=sgd",
        "optimizer.lr=0.01",
        "scheduler=plateau",
        "scheduler.patience=1",
        "callbacks.ema.decay=0.9",
        "scheduler.min_improvement=0.9",  # so that the rate falls after the second epoch, and after each that follows
    ]
    assert run_forked("train.py", *training, cwd=tmp_path / "reference").rc == 0
    (reference,) = runs(tmp_path / "reference")
    for write in (STEPS + 3, 2 * STEPS + 1, 3 * STEPS + 2):
        run, left, _ = kill_and_resume(tmp_path / str(write), training, write, run_forked)
        assert left["global_step"] == write - 1
        assert_equal_runs(run, reference)
        assert last(run)["schedule"] == last(reference)["schedule"]
        assert same(last(run)["trained"], last(reference)["trained"])
    assert last(reference)["schedule"]["ratio"] == pytest.approx(0.3**3)
    before, after = (torch.load(path, weights_only=True) for path in (start, reference / "checkpoints" / "last.ckpt"))
    norms = [name for name in after["state_dict"] if name.endswith("running_mean") and "encoder" in name]
    moved = [name for name in norms if not torch.equal(before["state_dict"][name], after["state_dict"][name])]
    assert len(norms) > 2 and moved == norms[-1:]
    sums = after["optimizer_states"][0]["parts"][1]["state"][0]["sum"]
    assert sums.shape == after["state_dict"]["loss.losses.regulariser.centers"].shape and sums.max() > 0


def test_nothing_to_resume_starts_anew(tmp_path, trained, training, folders, tiny):
    """Another config is another run. With a rate of 0 the loss tells epochs apart by their crops alone."""
    shutil.copytree(trained.cwd / "outputs", tmp_path / "outputs")
    (old,) = runs(tmp_path)
    (old / "status.json").write_text('{"status": "running"}')
    changed = [*training, "optimizer=sgd", "optimizer.lr=0.0", "margin=fixed", "augment=none", "loader.num_workers=0"]
    done = run_forked("train.py", *changed, "trainer.max_epochs=2", "ckpt=last", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    assert "starting anew" in done.stdout and "continuing" not in done.stdout
    _, new = runs(tmp_path)
    first, second = rows(new, "train")
    assert first["loss"] != second["loss"], "every epoch had the same crops"
    assert rows(old, "train") == rows(trained.run, "train")


def test_a_finished_run_is_not_resumed(trained, training, tmp_path):
    shutil.copytree(trained.cwd / "outputs", tmp_path / "outputs")
    done = run_forked("train.py", *training, "ckpt=last", cwd=tmp_path, kill=("last.ckpt", 1))
    assert done.rc == -9 and "starting anew" in done.stdout
    assert len(runs(tmp_path)) == 2


def test_the_training_sets_statistics_are_in_the_checkpoint(tmp_path, folders, tiny):
    given = [*folders.overrides(), *tiny, "norm=training_set", "trainer.max_epochs=1"]
    done = run_forked("train.py", *given, "name=tiny", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (run,) = runs(tmp_path)
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert weights["network.features.norm.mean"].abs().min() > 0.1
    assert (weights["network.features.norm.deviation"] != 1).all()
    assert run_forked("evaluate.py", f"ckpt={run}", "num_workers=0", cwd=tmp_path).rc == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_is_kept(tmp_path, folders, tiny, number):
    given = [
        *folders.overrides(),
        *tiny,
        "trainer.max_epochs=300",
        "name=tiny",
        "callbacks.verification.every_n_epochs=0",
    ]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *given],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/tiny/*/metrics/train_metrics.csv")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and err == ""
    assert out.splitlines()[-1] == "stopped and kept; the same command with ckpt=last goes on from here"
    (run,) = runs(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "stopped"
    assert "stopped and kept" in (run / "logs" / "train.log").read_text()
    kept = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    epochs = kept["global_step"] // STEPS
    assert 1 <= epochs < 300 and rows(run, "train")[-1]["epoch"] == str(epochs)


def test_an_epoch_is_kept_though_a_development_file_breaks(tmp_path, folders, tiny):
    shutil.copytree(folders.development, tmp_path / "development")
    broken = tmp_path / "development" / "s0/a/0.flac"
    broken.write_bytes(broken.read_bytes()[:3000])  # its header promises more
    given = [*folders.overrides(), *tiny, f"data.trials_root={tmp_path / 'development'}", "name=tiny"]
    assert_refused(run_forked("train.py", *given, "trainer.max_epochs=2", cwd=tmp_path), "s0/a/0.flac")
    (run,) = runs(tmp_path)
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    assert "s0/a/0.flac" in (run / "logs" / "train.log").read_text()
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == STEPS
    shutil.copy(folders.development / "s0/a/0.flac", broken)
    done = run_forked("train.py", *given, "trainer.max_epochs=2", "ckpt=last", cwd=tmp_path)
    assert done.rc == 0 and runs(tmp_path) == [run] and rows(run, "val")[-1]["epoch"] == "2"


def test_a_start_that_fails_leaves_no_folder(tmp_path, folders, tiny):
    assert_refused(run_forked("train.py", *folders.overrides(), *tiny, "trainer=gpu", cwd=tmp_path), "trainer")
    assert not (tmp_path / "outputs" / "ecapa_aam").exists()


# --- Two processes


@pytest.mark.parametrize("sampler", [["speakers_x_utterances", "sampler.speakers_per_batch=3"], ["random"]])
def test_too_small_batches_for_two_processes_stop_in_a_line(tmp_path, folders, tiny, sampler):
    """Before the second process is started."""
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    tiny = [word for word in tiny if not word.startswith("sampler.")]
    name, *settings = sampler
    settings = settings or ["sampler.batch_size=3"]
    given = [*folders.overrides(), *tiny, *ddp, f"sampler={name}", *settings, "trainer.precision=32-true", "name=tiny"]
    done = run_forked("train.py", *given, cwd=tmp_path)
    assert_refused(done, "sampler: the smallest batch has 3", "but 4 are needed (2 for each of 2 processes)")
    assert not (tmp_path / "outputs" / "tiny").exists()


@pytest.mark.slow
def test_two_processes_identify_as_one(tmp_path, identifying):
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    done = run_new("train.py", *identifying, *ddp, "trainer.precision=32-true", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (run,) = runs(tmp_path)
    best = min(rows(run, "val"), key=lambda row: float(row["error_rate"]))
    assert len(rows(run, "val")) == 3 and done.stdout.count("validation accuracy") == 3
    done = run_forked("evaluate.py", f"ckpt={run}", "split=val", "num_workers=0", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    with open(run / "metrics" / "test_metrics.csv", newline="") as file:
        (val,) = csv.DictReader(file)
    assert {name: as_written(val[name]) for name in ("accuracy", "macro_f1")} == {
        name: float(best[name]) for name in ("accuracy", "macro_f1")
    }


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path, folders, tiny):
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    given = [*folders.overrides(), *tiny, *ddp, "trainer.precision=32-true", "trainer.max_epochs=2", "name=tiny"]
    done = run_new("train.py", *given, "ckpt=last", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (run,) = runs(tmp_path)
    assert done.stdout.count("starting anew") == 1 and done.stdout.count("epoch 1/2") == 1
    assert [row["epoch"] for row in rows(run, "val")] == [row["epoch"] for row in rows(run, "train")] == ["1", "2"]
    best = min(rows(run, "val"), key=lambda row: float(row["eer"]))
    assert run_forked("evaluate.py", f"ckpt={run}", "num_workers=0", cwd=tmp_path).rc == 0
    assert as_written(evaluated(run)["eer"]) == float(best["eer"])


# --- Shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory, folders) -> list[str]:
    """`data=shards` over the training speakers' 24 utterances in 3 shards of 8, which were packed by the command."""
    from speakerlab.cli.main import main
    from speakerlab.data.manifest import write_manifest
    from speakerlab.data.scan import scan_folder

    root = tmp_path_factory.mktemp("shards")
    scan = scan_folder(folders.train, root / "cache", min_seconds=0.1, stereo="mix", max_bad_share=0.0)
    write_manifest(scan.manifest, root / "manifest.parquet")
    main(["shard", str(root / "manifest.parquet"), "--to", str(root / "to"), "--shard-items", "9", "--workers", "1"])
    trials = [f"data.trials={folders.trials}", f"data.trials_root={folders.development}"]
    return ["data=shards", f"data.root={root / 'to'}", "data.shuffle_buffer=5", *trials]


@pytest.fixture(scope="module")
def from_shards(shards, tiny) -> list[str]:
    """Two epochs with two data workers."""
    return [
        *shards,
        *tiny,
        "name=tiny",
        "trainer.max_epochs=2",
        "augment=specaugment",
        "loader.num_workers=2",
        "callbacks.checkpoints.every_minutes=0.000001",
    ]


def test_training_from_shards_resumes_bit_for_bit(tmp_path, from_shards):
    """Killed in the middle of epoch 2: what it does next is what the epoch has left, no more and no less."""
    done = run_forked("train.py", *from_shards, cwd=tmp_path / "whole")
    assert done.rc == 0 and "shards: 24 utterances of 6 speakers in 3 shards" in done.stdout, done.stderr
    killed, left, _ = kill_and_resume(tmp_path / "killed", from_shards, STEPS + 4, run_forked)
    assert left["global_step"] == STEPS + 3
    (whole,) = runs(tmp_path / "whole")
    assert_equal_runs(killed, whole)


@pytest.mark.slow
def test_within_an_epoch_the_data_workers_must_be_as_many(tmp_path, from_shards):
    """The order of shards is theirs; at an epoch's end nothing is half-done."""
    assert run_forked("train.py", *from_shards, cwd=tmp_path, kill=("last.ckpt", STEPS + 4)).rc == -9
    (run,) = runs(tmp_path)
    changed = [*from_shards, f"ckpt={run}", "loader.num_workers=1"]
    assert_refused(run_forked("train.py", *changed, cwd=tmp_path), "loader.num_workers 1 than with 2")
    assert run_forked("train.py", *from_shards, f"ckpt={run}", cwd=tmp_path).rc == 0
    done = run_forked("train.py", *changed, "trainer.max_epochs=3", cwd=tmp_path)
    assert done.rc == 0 and "epoch 3/3" in done.stdout, done.stderr


def test_a_vanished_shard_stops_training(tmp_path, tiny, shards):
    (root,) = (Path(given.partition("=")[2]) for given in shards if given.startswith("data.root="))
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "shard-000001.tar").unlink()
    done = run_forked("train.py", *shards, *tiny, f"data.root={copy}", cwd=tmp_path)
    assert_refused(done, "copy/shard-000001.tar: this shard is missing")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_two_processes_train_from_shards(tmp_path, tiny, shards):
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    given = [*shards, *tiny, *ddp, "trainer.precision=32-true", "trainer.max_epochs=2", "name=tiny"]
    done = run_new("train.py", *given, "loader.num_workers=2", "sampler.batch_size=5", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    (run,) = runs(tmp_path)
    assert [(row["epoch"], row["step"]) for row in rows(run, "train")] == [("1", "5"), ("2", "10")]
