"""Against each system's own metrics, its own bootstrap and the paired test."""

import numpy as np
import pytest
from scored_runs import scored_trials, write_predictions, write_run, write_text
from sklearn.metrics import f1_score

from speakerlab import InputError
from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.inference.comparison import compare
from speakerlab.inference.evaluation import trial_metrics
from speakerlab.inference.runs import find_runs, find_shared
from speakerlab.scoring.bootstrap import paired_test
from speakerlab.scoring.metrics import eer


def nothing(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_trials_are_measured_as_an_evaluation_does(tmp_path):
    rows, better = scored_trials(), scored_trials(better=1.5, seed=3)
    order = np.random.default_rng(0).permutation(len(rows))
    files = [
        write_run(tmp_path / "a" / "1", rows),
        write_text(tmp_path / "b.txt", [better[i] for i in order]),
    ]
    (shared,), _ = find_shared(find_runs([str(file) for file in files]))
    found = compare(shared, ["a", "b"], 200, nothing)
    trials = shared.scored[0].trials()
    systems = [np.array([row[3] for row in scored]) for scored in (rows, better)]
    for label, scores in zip("ab", systems):
        assert found.metrics[label] == trial_metrics(trials, scores, 200)
        assert eer(found.curves[label])[0] == found.metrics[label]["eer"]
    speakers = speakers_by_targets(trials)
    sides = speakers[trials.enrol], speakers[trials.test]
    expected = paired_test(*systems, trials.labels, *sides, draws=200)
    assert {pair.metric: pair.difference for pair in found.pairs} == expected
    assert found.pairs[0].metric == "eer" and found.pairs[0].is_significant
    assert found.counts == "24 target and 252 non-target trials of 8 speakers" and found.draws == 200


def test_a_list_that_no_speakers_fit_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("1 a b .9\n1 b c .8\n0 a c .1\n0 a d .2\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("1 a b .7\n1 b c .8\n0 a c .3\n0 a d .2\n", encoding="utf-8")
    [shared], _ = find_shared(find_runs([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]))
    with pytest.raises(InputError, match="a.txt, line 3: a and c are of different speakers here"):
        compare(shared, ["a", "b"], 200, nothing)


def test_utterances_are_measured_whatever_the_order(tmp_path):
    files = [write_predictions(tmp_path / name, right) for name, right in (("a.csv", 0.9), ("b.csv", 0.5))]
    header, *lines = files[1].read_text().splitlines()
    files[1].write_text("\n".join([header, *lines[::-1]]) + "\n")
    (shared,), _ = find_shared(find_runs([str(file) for file in files]))
    found = compare(shared, ["a", "b"], 200, nothing)
    for label, file in zip("ab", files):
        rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
        truth, named = [row[1] for row in rows], [row[3] for row in rows]
        metrics = found.metrics[label]
        assert metrics["accuracy"] == pytest.approx(np.mean([row[2] == "1" for row in rows]))
        assert metrics["macro_f1"] == pytest.approx(f1_score(truth, named, average="macro"))
        ranks = np.array([int(row[2]) for row in rows])
        assert metrics["top5_accuracy"] == pytest.approx((ranks <= 5).mean())
        right = {speaker: ranks[np.array(truth) == speaker] <= 5 for speaker in truth}
        shares = np.random.default_rng(0).choice([each.mean() for each in right.values()], (20_000, len(right)))
        expected = np.quantile(shares.mean(axis=1), [0.025, 0.975])  # speakers have as many utterances each
        ends = [metrics["top5_accuracy_low"], metrics["top5_accuracy_high"]]
        np.testing.assert_allclose(ends, expected, atol=0.02)
        assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert not found.curves
    assert [pair.metric for pair in found.pairs] == ["accuracy", "top5_accuracy", "macro_f1"]
    assert all(pair.is_significant for pair in found.pairs)
    assert all(pair.difference.value < 0 for pair in found.pairs)
    # The same system under another order differs from itself in nothing.
    files[0].write_text(files[1].read_text())
    (shared,), _ = find_shared(find_runs([str(file) for file in files]))
    header, *lines = files[0].read_text().splitlines()
    files[0].write_text("\n".join([header, *sorted(lines)]) + "\n")
    (shared,), _ = find_shared(find_runs([str(file) for file in files]))
    assert all(pair.difference.p_value == 1 for pair in compare(shared, ["a", "b"], 100, nothing).pairs)


def test_too_few_speakers_have_no_tests(tmp_path):
    files = [write_run(tmp_path / name / "1", scored_trials(speakers=3, seed=i)) for i, name in enumerate("ab")]
    (shared,), _ = find_shared(find_runs([str(file) for file in files]))
    found = compare(shared, ["a", "b"], 200, nothing)
    assert (found.pairs, found.draws) == ([], 0) and "eer_low" not in found.metrics["a"]
