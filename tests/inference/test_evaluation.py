"""Scoring a list, and the files that keep the scores."""

import csv
import math

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.data.trials import Trials, read_trials
from speakerlab.data.utterances import measure
from speakerlab.inference.evaluation import (
    append_test_metrics,
    score_trials,
    speakers_by_targets,
    trial_metrics,
    write_scores,
)

CPU = torch.device("cpu")


def make(labels, pairs, names=None) -> Trials:
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    names = names or [f"u{i}" for i in range(pairs.max() + 1)]
    return Trials(np.array(labels, np.int8), pairs[:, 0], pairs[:, 1], names, np.arange(1, len(pairs) + 1), "test")


def union_find(trials: Trials) -> list[int]:
    parent = list(range(len(trials.utterances)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for label, enrol, test in zip(trials.labels, trials.enrol, trials.test, strict=True):
        if label:
            parent[root(enrol)] = root(test)
    return [root(i) for i in range(len(parent))]


@pytest.mark.parametrize("seed", range(8))
def test_speakers_are_what_targets_connect(seed):
    generator = np.random.default_rng(seed)
    pairs = np.concatenate([generator.integers(0, 40, (60, 2)), [[39, 39]]])
    trials = make(generator.random(61) < 0.4, pairs)
    found, expected = speakers_by_targets(trials), union_find(trials)
    assert found.shape == (40,)
    assert len(set(zip(found.tolist(), expected, strict=True))) == len(set(found.tolist())) == len(set(expected))
    assert len(set(expected)) < 40


def test_repeated_targets_and_none():
    assert len(set(speakers_by_targets(make([1] * 300, [[0, 1]] * 300)).tolist())) == 1
    assert len(set(speakers_by_targets(make([0, 0], [[0, 1], [1, 2]])).tolist())) == 3


def test_written_scores(tmp_path):
    trials = make([1, 0, 1], [[0, 1], [2, 0], [1, 2]], ["a/1.wav", "a/2.wav", "b/1.wav"])
    write_scores(tmp_path / "scores" / "list.txt", trials, np.array([0.12345678, -0.5, 1.0], np.float32))
    assert (tmp_path / "scores" / "list.txt").read_text().splitlines() == [
        "1 a/1.wav a/2.wav 0.123457",
        "0 b/1.wav a/1.wav -0.500000",
        "1 a/2.wav b/1.wav 1.000000",
    ]


class Spectrum(nn.Module):
    """A stub whose embedding depends on every sample of an utterance and its length, and on nothing else."""

    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, waveform, lengths):
        self.batches.append(lengths.tolist())
        time = torch.arange(waveform.shape[1]) / 16000
        valid = time * 16000 < lengths[:, None]
        waves = torch.stack([torch.cos(2 * math.pi * hertz * time) for hertz in (100, 200, 300, 400, 500)])
        return (waveform * valid) @ waves.T / lengths[:, None] + 1e-3


@pytest.mark.parametrize("workers", [0, 1])
def test_scores_are_the_cosines_of_each_pair(tmp_path, workers):
    generator = np.random.default_rng(0)
    files, embeddings = [], []
    for i in range(9):
        samples = int(generator.integers(4000, 30000))
        hertz = generator.choice([100, 200, 300, 400, 500], 2)
        wave = sum(np.cos(2 * np.pi * h * np.arange(samples) / 16000) for h in hertz) * 0.3
        files.append(tmp_path / f"{i}.flac")
        soundfile.write(files[-1], wave + 0.05 * generator.uniform(-1, 1, samples), 16000)
        read = torch.from_numpy(soundfile.read(files[-1], dtype="float32")[0])
        embeddings.append(Spectrum()(read[None], torch.tensor([samples]))[0].double().numpy())
    pairs = [(i, j) for i in range(9) for j in range(9)]
    network, reports = Spectrum().train(), []
    scores = score_trials(
        network,
        make([0] * len(pairs), pairs),
        files,
        measure(files),
        16000,
        CPU,
        workers,
        lambda *state: reports.append(state),
    )
    expected = [
        embeddings[i] @ embeddings[j] / np.linalg.norm(embeddings[i]) / np.linalg.norm(embeddings[j]) for i, j in pairs
    ]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert np.ptp(expected) > 0.5
    assert sum(len(batch) for batch in network.batches) == 9  # each once, though in 18 trials
    totals = {total for _, total in reports}
    assert totals == {len(network.batches)}
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


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


def test_test_metrics_grow_by_a_line_a_system(tmp_path):
    path = tmp_path / "metrics" / "test_metrics.csv"
    append_test_metrics(path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.1, "targets": 4}})
    append_test_metrics(path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.2}, "mean MFCC": {"eer": 0.3}})
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["system"], row["eer"], row["targets"]) for row in rows] == [
        ("model", "0.1", "4"),
        ("model", "0.2", ""),
        ("mean MFCC", "0.3", ""),
    ]
    assert {row["checkpoint"] for row in rows} == {str(tmp_path / "best.ckpt")}


def test_test_metrics_get_new_columns(tmp_path):
    path = tmp_path / "test_metrics.csv"
    for metrics in ({"eer": 0.1}, {"eer": 0.2, "cllr": 0.3}, {"auc": 0.4}, {"eer": 0.5}):
        append_test_metrics(path, tmp_path / "best.ckpt", "a, b.txt", {"model": metrics})
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row["eer"], row["cllr"], row["auc"]] for row in rows] == [
        ["0.1", "", ""],
        ["0.2", "0.3", ""],
        ["", "", "0.4"],
        ["0.5", "", ""],
    ]
    assert {row["trials"] for row in rows} == {"a, b.txt"}


def test_another_table_does_not_grow(tmp_path):
    path = tmp_path / "test_metrics.csv"
    path.write_text("junk\n")
    with pytest.raises(InputError, match=r"test_metrics\.csv: its first line is not date,checkpoint"):
        append_test_metrics(path, tmp_path / "best.ckpt", "list.txt", {"model": {"eer": 0.1}})
    assert path.read_text() == "junk\n"


def test_scores_keep_the_lists_order_and_names(tmp_path):
    (tmp_path / "list.txt").write_text("0 b/1 a/1\n1 a/1 a/2\n0 a/2 b/1\n")
    trials = read_trials(tmp_path / "list.txt")
    write_scores(tmp_path / "out.txt", trials, np.array([0.1, 0.2, 0.3]))
    lines = [line.rsplit(" ", 1) for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [line for line, _ in lines] == (tmp_path / "list.txt").read_text().splitlines()
    assert [score for _, score in lines] == ["0.100000", "0.200000", "0.300000"]
