"""Which files belong to what the user names, and whether they are of the same list."""

import numpy as np
import pytest
from scored_runs import scored_trials, write_csv, write_predictions, write_run, write_text

from speakerlab import InputError
from speakerlab.inference.runs import find_run, find_runs, find_shared, labels_of, read_predictions


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_run_is_a_folder_a_checkpoint_or_a_file_of_scores(tmp_path):
    run = write_run(tmp_path / "ecapa" / "2026-01-01", scored_trials())
    write_predictions(run / "scores" / "identification_test_predictions.csv", 0.5)
    (run / "scores" / "notes.csv").write_text("a,b\n1,2\n")
    best = run / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.touch()
    for given in (run, best):
        found = find_run(str(given))
        assert found.checkpoint == best and set(found.files) == {"dev", "identification_test"}
    alone = write_text(tmp_path / "theirs.txt", scored_trials())
    assert find_run(str(alone)).files == {"theirs": alone} and find_run(str(alone)).checkpoint is None
    outside = tmp_path / "model.ckpt"
    outside.touch()
    write_run(tmp_path / "outputs" / "evaluate" / "model", scored_trials())
    assert set(find_run("model.ckpt").files) == {"dev"}


def test_scores_of_another_checkpoint_are_not_taken(tmp_path):
    run = write_run(tmp_path / "run", scored_trials())
    for name in ("best", "last"):
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "checkpoints" / f"{name}.ckpt").touch()
    (run / "metrics").mkdir()
    lines = ["date,checkpoint,trials,system,eer", "1,x/last.ckpt,lists/dev.txt,model,0.1"]
    lines += ["2,x/best.ckpt,lists/dev.txt,model,0.2", "3,x/last.ckpt,lists/other.txt,model,0.1"]
    write_csv(run / "scores" / "dev_asnorm.csv", scored_trials())
    (run / "metrics" / "test_metrics.csv").write_text("\n".join(lines) + "\n")
    assert set(find_run(str(run / "checkpoints" / "best.ckpt")).files) == {"dev", "dev_asnorm"}
    with pytest.raises(InputError, match=r"last.ckpt: the scores in .* are of best.ckpt; evaluate it first: python"):
        find_run(str(run / "checkpoints" / "last.ckpt"))


def test_what_is_no_run_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "new" / "checkpoints").mkdir(parents=True)
    (tmp_path / "new" / "checkpoints" / "best.ckpt").touch()
    (tmp_path / "page.html").write_text("<html>\n")
    for given, message in [
        ("nowhere", "nowhere: there is no such folder, checkpoint or file of scores"),
        ("empty", "holds neither checkpoints/ nor scores/"),
        ("new", "nothing was scored with it yet; evaluate it first: python evaluate.py ckpt=new"),
        ("page.html", "holds neither scores of trials nor predictions"),
    ]:
        with pytest.raises(InputError, match=message):
            find_run(given)
    with pytest.raises(InputError, match="two or more"):
        find_runs(["new"])


def test_labels_tell_runs_apart(tmp_path):
    runs = [tmp_path / "a" / "1", tmp_path / "b" / "1", tmp_path / "b" / "2", tmp_path / "c.csv"]
    for run in runs[:3]:
        run.mkdir(parents=True)
    assert labels_of([runs[0], runs[1], runs[3]]) == ["a", "b", "c.csv"]
    assert labels_of(runs[:3]) == ["a/1", "b/1", "b/2"]
    deep = [tmp_path / side / "checkpoints" / "best.ckpt" for side in ("x", "y")]
    assert labels_of(deep) == ["x/checkpoints/best.ckpt", "y/checkpoints/best.ckpt"]
    with pytest.raises(InputError, match="given twice"):
        labels_of([runs[0], runs[0]])


def test_a_list_is_known_by_its_trials_whatever_its_name_and_order(tmp_path):
    rows = scored_trials()
    order = np.random.default_rng(0).permutation(len(rows))
    one = write_run(tmp_path / "one", rows)
    two = write_text(tmp_path / "theirs.txt", [rows[i] for i in order])
    (shared,), notes = find_shared(find_runs([str(one), str(two)]))
    assert (shared.name, shared.kind, notes) == ("dev", "trials", [])
    for scored, taken in zip(shared.scored, shared.rows):
        assert scored.scores[taken] == pytest.approx([row[3] for row in rows])
        assert scored.enrol.take(taken).to_pylist() == [row[1] for row in rows]


def test_a_recipe_is_not_set_against_another_one(tmp_path):
    rows = scored_trials()
    for name in ("list", "list_plda", "list_snorm"):
        write_csv(tmp_path / "a" / "1" / "scores" / f"{name}.csv", rows)
    for name in ("list", "list_plda"):
        write_csv(tmp_path / "b" / "1" / "scores" / f"{name}.csv", rows)
    theirs = write_text(tmp_path / "theirs.txt", rows)
    runs = find_runs([str(tmp_path / "a" / "1"), str(tmp_path / "b" / "1")])
    shared, notes = find_shared(runs)
    assert [one.name for one in shared] == ["list", "list_plda"]
    assert [one.scored[1].source for one in shared] == [str(runs[1].files[one.name]) for one in shared]
    assert notes == ["not compared: a: list_snorm was not scored by b"]
    shared, notes = find_shared(find_runs([str(tmp_path / "a" / "1"), str(theirs)]))
    assert [one.name for one in shared] == ["list"] and len(notes) == 2


def test_every_shared_list_is_found_and_the_others_are_named(tmp_path):
    rows = scored_trials()
    one, two = write_run(tmp_path / "x" / "one", rows), write_run(tmp_path / "y" / "two", rows)
    for run in (one, two):
        write_predictions(run / "scores" / "who.csv", 0.5)
    write_csv(one / "scores" / "own.csv", rows[:50])
    write_csv(two / "scores" / "own.csv", rows[50:])
    write_csv(two / "scores" / "more.csv", rows[:70])
    shared, notes = find_shared(find_runs([str(one), str(two)]))
    assert [(one.name, one.kind) for one in shared] == [("dev", "trials"), ("who", "utterances")]
    assert notes[0].startswith("not compared: x: own of y is another list: 50 and")
    assert notes[1:] == ["not compared: more was scored by y and not by x"]


def test_ways_of_scoring_one_list_are_told_apart_by_name(tmp_path):
    rows = scored_trials()
    one, two = write_run(tmp_path / "x" / "1", rows), write_run(tmp_path / "y" / "1", rows)
    write_csv(one / "scores" / "dev_asnorm.csv", scored_trials(seed=1))
    shared, notes = find_shared(find_runs([str(one), str(two)]))
    assert [one.name for one in shared] == ["dev"]
    assert notes == ["not compared: x: dev_asnorm was not scored by y"]
    (one / "scores" / "dev.csv").unlink()
    (shared,), notes = find_shared(find_runs([str(one), str(two)]))
    assert shared.name == "dev_asnorm" and notes == ["dev_asnorm is dev of y"]


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda rows: rows[:-1], "dev of b is another list: 276 and 275 trials"),
        (lambda rows: [*rows[:-1], (0, "new", "pair", 0.0)], "'s7/1.wav s7/2.wav 1' is only in the first"),
        (lambda rows: [(1 - rows[0][0], *rows[0][1:]), *rows[1:]], "'s0/0.wav s0/1.wav 1' is only in the first"),
        (lambda rows: None, "dev was not scored by b"),
    ],
)
def test_different_lists_are_told_apart(tmp_path, change, reason):
    rows = scored_trials()
    one, two = write_run(tmp_path / "a" / "1", rows), tmp_path / "b" / "1"
    changed = change(rows)
    write_run(two, changed) if changed else write_predictions(two / "scores" / "who.csv", 0.5)
    with pytest.raises(InputError) as error:
        find_shared(find_runs([str(one), str(two)]))
    message = str(error.value)
    assert message.startswith("the runs were scored on different lists: ") and reason in message
    assert "python evaluate.py ckpt=RUN trials=LIST" in message and "\n" not in message


def test_scores_without_labels_are_refused(tmp_path):
    (tmp_path / "kaldi.txt").write_text("a b 0.5\na c 0.1\n")
    run = write_run(tmp_path / "run", [(1, "a", "b", 0.5), (0, "a", "c", 0.1)])
    with pytest.raises(InputError, match=r"kaldi\.txt: says of no trial whether it is a target"):
        find_shared(find_runs([str(run), "kaldi.txt"]))


def test_predictions_are_read(tmp_path):
    path = tmp_path / "who.csv"
    path.write_text('utterance,speaker,predicted,rank\n"a,1",ann,bob,2\nb,bob,bob,1\n')
    found = read_predictions(path)
    assert found.names.to_pylist() == ["a,1", "b"] and found.rank.tolist() == [2, 1]
    assert (found.speakers == found.predicted).tolist() == [False, True] and found.predicted[0] == found.speakers[1]
    path.write_text("utterance,speaker,predicted,rank\na,ann,bob,first\n")
    with pytest.raises(InputError, match=r"who\.csv, line 2: the rank is no number"):
        read_predictions(path)
