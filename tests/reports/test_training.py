"""The report of a run from the files that a run leaves."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from speakerlab.data.development import MEASURED, read_utterances, write_development_trials
from speakerlab.data.manifest import write_manifest
from speakerlab.data.scan import scan_folder
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.data.trials import locate_utterances, read_trials
from speakerlab.record import environment
from speakerlab.reports.training import epoch_images, last_measured, training_report
from speakerlab.training.measured import write_measured


@pytest.fixture
def run(tmp_path):
    """A run's folder without what was measured last."""
    folder = tmp_path / "tiny" / "2026-01-31_12-00-00"
    (folder / "metrics").mkdir(parents=True)
    (folder / "metrics" / "train_metrics.csv").write_text("epoch,step,loss,accuracy\n1,4,3.0,0.1\n2,8,nan,0.3\n")
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "command.txt").write_text("python train.py\npython train.py ckpt=last\n")
    hardware = {"processes": 1, "device": "cpu", "precision": "32-true"}
    (folder / "environment.json").write_text(json.dumps(environment() | hardware))
    return folder


def measured(run, speakers, count: int, found: dict) -> None:
    trainer = SimpleNamespace(default_root_dir=str(run), is_global_zero=True, current_epoch=1, global_step=8)
    embeddings = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    write_measured(trainer, speakers, embeddings, found)


@pytest.fixture
def verifying(run, folders):
    (run / "metrics" / "val_metrics.csv").write_text("epoch,step,eer,min_dcf_0.01\n1,4,0.25,0.9\n2,8,0.3,0.8\n")
    trials = read_trials(folders.trials)
    write_development_trials(run, trials, locate_utterances(trials, [folders.development]))
    scores = np.random.default_rng(0).normal(size=len(trials)) + 2 * trials.labels
    measured(run, speakers_by_targets(trials), len(trials.utterances), {"scores": scores.astype(np.float32)})
    return run


@pytest.fixture
def identifying(run, folders):
    (run / "metrics" / "val_metrics.csv").write_text("epoch,step,accuracy,error_rate\n1,4,0.25,0.75\n2,8,0.5,0.5\n")
    table = scan_folder(folders.train, run, min_seconds=0.5, stereo="mix", max_bad_share=1.0).manifest
    write_manifest(table, run / "utterances" / "val.parquet")
    rank = np.random.default_rng(0).integers(1, 7, len(table))
    speakers = np.array(table["speaker"].to_pylist())
    names, classes = np.unique(speakers, return_inverse=True)
    predicted = (classes + rank - 1) % 6
    found = {"rank": rank, "predicted": predicted, "probability": np.full(len(table), 0.5)}
    measured(run, speakers, len(table), found | {"classes": classes, "names": names})
    return run


def headings(page) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page.read_text())


def test_of_verification(verifying):
    page = training_report(verifying)
    trials = "of the development trials"
    expected = ["Best epoch", "Training", f"Detection error trade-off {trials}", f"Scores {trials}", "Run"]
    assert headings(page) == expected  # nine utterances make no map
    text = page.read_text()
    assert "epoch 1<" in text and "After epoch 2, the last one that was measured." in text
    assert "python train.py  then  python train.py ckpt=last" in text and "1 x cpu, 32-true" in text
    assert {"training.png", "det_last_epoch.svg", "scores_last_epoch.png"} <= {
        path.name for path in (verifying / "plots").iterdir()
    }
    assert len(list((verifying / "tensorboard" / "development").glob("events.out.*"))) == 1
    (image,) = epoch_images(verifying).items()
    assert image[0] == "val/det" and image[1].dtype == np.uint8 and image[1].shape[2] == 3


def test_of_identification(identifying):
    found = last_measured(identifying)
    assert list(found.figures) == ["match", "confusion", "certainty", "map"] and (found.epoch, found.step) == (2, 8)
    names = read_utterances(identifying, "val")["speaker"].to_pylist()
    with np.load(identifying / MEASURED) as kept:
        assert found.sample.speakers.tolist() == [names[row] for row in kept["rows"]]
        assert set(names) == set(found.sample.speakers.tolist())
    assert found.figures["match"].axes[0].lines[1].get_ydata()[0] == pytest.approx(100 / 6)
    labels = [text.get_text() for text in found.figures["confusion"].axes[0].get_yticklabels()]
    assert set(labels) <= set(names) and len(labels) > 1
    assert list(epoch_images(identifying)) == ["val/match", "val/confusion"]
    assert "epoch 2<" in training_report(identifying).read_text()


def test_speakers_whom_nobody_confuses_have_no_matrix(identifying):
    with np.load(identifying / MEASURED) as kept:
        found = dict(kept)
    np.savez(identifying / MEASURED, **(found | {"predicted": found["classes"], "rank": np.ones_like(found["rank"])}))
    assert list(epoch_images(identifying)) == ["val/match"]


def test_a_run_that_kept_nothing_has_its_curves(verifying):
    (verifying / MEASURED).unlink()
    assert headings(training_report(verifying)) == ["Best epoch", "Training", "Run"]
