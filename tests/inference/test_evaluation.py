"""Scoring a list, and the files that keep the scores."""

import csv

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.trials import Trials
from speakerlab.inference.evaluation import (
    check_numbers,
    check_trials,
    keep_metrics,
    trial_metrics,
)


def make(labels, pairs, names=None) -> Trials:
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    names = names or [f"u{i}" for i in range(pairs.max() + 1)]
    return Trials(np.array(labels, np.int8), pairs[:, 0], pairs[:, 1], names, np.arange(1, len(pairs) + 1), "test")


def test_metrics_of_a_list():
    """Three speakers, scores that fail one target and one non-target of four each: 25 % by hand."""
    pairs = [[0, 1], [2, 3], [4, 5], [0, 6], [0, 2], [2, 4], [4, 0], [6, 2]]
    trials = make([1, 1, 1, 1, 0, 0, 0, 0], pairs)
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.0, -0.3])
    metrics = trial_metrics(trials, scores, draws=0)
    assert metrics["eer"] == pytest.approx(0.25)
    assert (metrics["targets"], metrics["nontargets"]) == (4, 4)
    assert "eer_low" not in metrics
    assert "eer_low" not in trial_metrics(trials, scores, draws=200), "an interval over three speakers means nothing"
    more = make([1, 1, 1, 1, 0, 0, 0, 0] * 2, pairs + [[first + 7, second + 7] for first, second in pairs])
    metrics = trial_metrics(more, np.tile(scores, 2), draws=200)
    for name in ("eer", "min_dcf_0.01", "min_dcf_0.05"):
        assert 0 <= metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"] <= 1
    metrics = trial_metrics(more, np.tile(scores, 2), 100, ["voxsrc"], llrs=np.tile(10 * scores - 4, 2))
    intervals = {"eer_low", "eer_high", "min_dcf_voxsrc_low", "min_dcf_voxsrc_high"}
    assert {name for name in metrics if name.endswith(("low", "high"))} == intervals
    assert metrics["cllr"] > metrics["min_cllr"] > 0 and metrics["act_dcf_voxsrc"] >= metrics["min_dcf_voxsrc"]


def test_lists_are_checked_for_speakers_only_where_these_are_drawn():
    trials = make([1, 1, 0], [[0, 1], [1, 2], [0, 2]])
    check_trials(trials, 0)
    with pytest.raises(InputError, match="of one speaker by the target trials"):
        check_trials(trials, 100)
    with pytest.raises(InputError, match="error rates need both kinds"):
        check_trials(make([1], [[0, 1]]), 0)


def test_test_metrics_grow_by_a_line_a_system(tmp_path):
    path = tmp_path / "metrics" / "test_metrics.csv"
    keep_metrics(tmp_path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.1, "targets": 4}})
    keep_metrics(tmp_path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.2}, "mean MFCC": {"eer": 0.3}})
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["system"], row["eer"], row["targets"]) for row in rows] == [
        ("model", "0.1", "4"),
        ("model", "0.2", ""),
        ("mean MFCC", "0.3", ""),
    ]
    assert {row["checkpoint"] for row in rows} == {str(tmp_path / "best.ckpt")}
    keep_metrics(tmp_path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.4}}, "asnorm300")
    with open(path, newline="") as file:
        assert [row["scoring"] for row in csv.DictReader(file)] == ["", "", "", "asnorm300"]


def test_test_metrics_get_new_columns(tmp_path):
    for metrics in ({"eer": 0.1}, {"eer": 0.2, "cllr": 0.3}, {"auc": 0.4, "eer": 0.4}, {"eer": 0.5}):
        keep_metrics(tmp_path, tmp_path / "best.ckpt", "a, b.txt", {"model": metrics})
    with open(tmp_path / "metrics" / "test_metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row["eer"], row["cllr"], row["auc"]] for row in rows] == [
        ["0.1", "", ""],
        ["0.2", "0.3", ""],
        ["0.4", "", "0.4"],
        ["0.5", "", ""],
    ]
    assert {row["trials"] for row in rows} == {"a, b.txt"}
    keep_metrics(tmp_path, tmp_path / "best.ckpt", "test", {"model": {"accuracy": 0.5}})
    with open(tmp_path / "metrics" / "test_metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    told = [(row["trials"], row["eer"], row["accuracy"]) for row in rows[-2:]]
    assert told == [("a, b.txt", "0.5", ""), ("test", "", "0.5")]


def test_another_table_does_not_grow(tmp_path):
    path = tmp_path / "metrics" / "test_metrics.csv"
    path.parent.mkdir()
    path.write_text("junk\n")
    with pytest.raises(InputError, match=r"test_metrics\.csv: its first line is not date,checkpoint"):
        keep_metrics(tmp_path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.1}})
    assert path.read_text() == "junk\n"


def test_metrics_stand_in_the_log(tmp_path, caplog):
    with caplog.at_level("DEBUG", logger="speakerlab"):
        keep_metrics(tmp_path, tmp_path / "x.npz", "list.txt", {"model": {"eer": 0.25, "targets": 4}})
        keep_metrics(tmp_path, tmp_path / "x.npz", "some", {"centroid": {"accuracy": 0.5, "utterances": 2}})
    assert caplog.messages == ["model on list.txt: eer 0.25, targets 4", "centroid on some: accuracy 0.5, utterances 2"]
    lines = (tmp_path / "metrics" / "test_metrics.csv").read_text().splitlines()
    assert lines[1].endswith(",list.txt,model,0.25,4,,") and lines[2].endswith(",some,centroid,,,0.5,2")


def test_numbers_that_mean_nothing_are_refused():
    check_numbers(0, [])
    check_numbers(100, [0.01, "voxsrc"])
    for draws in (1, 99, -1):
        with pytest.raises(InputError, match=f"bootstrap_draws={draws} must be at least 100, or 0 for no interval"):
            check_numbers(draws, [0.01])
    with pytest.raises(InputError, match="operating point 1.5 is neither a prior"):
        check_numbers(0, [0.01, 1.5])
