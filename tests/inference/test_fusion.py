"""Systems from files: aligned by their trials, fused by weights of other trials."""

from pathlib import Path

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.trials import Trials
from speakerlab.inference.fusion import find_listed, fuse, names_of, output_folder, read_systems
from speakerlab.scoring.calibration import train_calibration
from speakerlab.scoring.metrics import eer, error_rates


def listed(labels, seed: int = 0) -> Trials:
    pairs = np.random.default_rng(seed).permutation(40 * 39)[: len(labels)]  # each pair once
    enrol, test = (pairs // 39).astype(np.int32), (pairs % 39).astype(np.int32)
    return Trials(
        np.asarray(labels, np.int8), enrol, test, [f"u{i}" for i in range(40)], np.arange(len(labels)), "list"
    )


def write(path: Path, trials: Trials, scores: np.ndarray, order: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = trials.utterances
    path.write_text(
        "".join(
            f"{trials.labels[i]} {names[trials.enrol[i]]} {names[trials.test[i]]} {float(scores[i])!r}\n" for i in order
        )
    )
    return path


def two_files(folder: Path, seed: int, trials: int = 900) -> tuple[list[str], Trials, np.ndarray]:
    """Two systems that err independently, the second in another order: their files, the list and `(trials, 2)`."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(trials) < 0.4).astype(int)
    table = labels[:, None] * [0.3, 20.0] + generator.standard_normal((trials, 2)) * [0.2, 12.0]
    of_list = listed(labels, seed)
    paths = [
        write(folder / "a.txt", of_list, table[:, 0], np.arange(trials)),
        write(folder / "b.txt", of_list, table[:, 1], generator.permutation(trials)),
    ]
    return list(map(str, paths)), of_list, table


def test_files_are_put_into_the_order_of_the_first(tmp_path):
    paths, trials, table = two_files(tmp_path, 0)
    found = read_systems(paths)
    assert list(found.scores) == ["a", "b"] and found.name == "fusion"
    np.testing.assert_array_equal(found.table, table)
    np.testing.assert_array_equal(found.trials.labels, trials.labels)
    alone = read_systems(paths[1])
    assert alone.name == "b" and fuse(alone, None) is None


def test_a_list_says_what_is_a_target_and_which_trials_count(tmp_path):
    paths, trials, table = two_files(tmp_path, 0)
    lines = Path(paths[0]).read_text().splitlines()
    (tmp_path / "kaldi.txt").write_text("".join(line.partition(" ")[2] + "\n" for line in lines))
    (tmp_path / "list.txt").write_text("".join(line.rpartition(" ")[0] + "\n" for line in lines[100:300]))
    found = read_systems([str(tmp_path / "kaldi.txt"), paths[1]], find_listed(str(tmp_path / "list.txt"), None))
    np.testing.assert_array_equal(found.table, table[100:300])
    np.testing.assert_array_equal(found.trials.labels, trials.labels[100:300])
    assert find_listed(None, None) is None


def test_fusion_learned_on_one_list_and_applied_to_another(tmp_path, caplog):
    development, of_development, learned = two_files(tmp_path / "dev", 0)
    paths, trials, table = two_files(tmp_path / "test", 1)
    with caplog.at_level("INFO", "speakerlab"):
        llrs = fuse(read_systems(paths), read_systems(development))
    expected = train_calibration(learned, of_development.labels, ("a", "b"))
    np.testing.assert_allclose(llrs, expected.llrs(table))
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("log-likelihood ratio = ")
    assert f"{expected.weights[0]:.4g} x a + {expected.weights[1]:.4g} x b" in caplog.messages[0]
    rates = [eer(error_rates(scores, trials.labels))[0] for scores in (llrs, table[:, 0], table[:, 1])]
    assert rates[0] < min(rates[1:])


def test_fusion_on_its_own_trials_is_warned_of(tmp_path, caplog):
    paths, trials, table = two_files(tmp_path, 0)
    with caplog.at_level("INFO", "speakerlab"):
        llrs = fuse(read_systems(paths), None)
    np.testing.assert_allclose(llrs, train_calibration(table, trials.labels, ("a", "b")).llrs(table))
    assert "learned from the very trials that it is measured on" in caplog.text


def test_one_system_is_calibrated_by_other_trials(tmp_path):
    development, of_development, learned = two_files(tmp_path / "dev", 0)
    paths, _, table = two_files(tmp_path / "test", 1)
    llrs = fuse(read_systems(paths[0]), read_systems(development[0]))
    np.testing.assert_allclose(llrs, train_calibration(learned[:, 0], of_development.labels).llrs(table[:, 0]))


def test_what_does_not_fit_is_refused(tmp_path):
    paths, trials, table = two_files(tmp_path, 0)
    with pytest.raises(InputError, match="scores has 2 systems and development_scores has 1"):
        fuse(read_systems(paths), read_systems(paths[0]))
    write(tmp_path / "few.txt", trials, table[:, 0], np.arange(898))
    with pytest.raises(InputError, match=r"few\.txt: has no score for 2 of the 900 trials"):
        read_systems([paths[0], str(tmp_path / "few.txt")])
    swapped = listed(1 - trials.labels, 0)
    write(tmp_path / "wrong.txt", swapped, table[:, 0], np.arange(900))
    with pytest.raises(InputError, match=r"wrong\.txt: the labels of 900 trials are not those of .*a\.txt"):
        read_systems([paths[0], str(tmp_path / "wrong.txt")])


def test_names_tell_files_apart():
    paths = [Path("/runs/a/scores/dev.csv"), Path("/runs/b/scores/dev.csv")]
    assert names_of(paths) == ["a/scores/dev", "b/scores/dev"]
    assert names_of(paths[:1]) == ["dev"]
    with pytest.raises(InputError, match="a file is given twice"):
        names_of([paths[0], paths[0]])


def test_where_it_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths, _, _ = two_files(tmp_path, 0)
    systems = read_systems(paths)
    assert output_folder(compose("evaluate", ["scores=a"])[0], systems) == Path("outputs/evaluate/fusion")
    assert output_folder(compose("evaluate", ["scores=a", "output_dir=out"])[0], systems) == Path("out")
    assert (tmp_path / "out").is_dir()
