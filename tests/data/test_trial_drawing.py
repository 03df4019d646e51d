"""Drawn trials against all pairs by brute force."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.manifest import as_manifest
from speakerlab.data.trial_drawing import draw_trials, make_trials, with_known


def manifest(rows: list[tuple[str, str, str]]) -> pa.Table:
    """(speaker, session, gender) of each utterance."""
    paths = [f"{speaker}/{session}/{i}.wav" for i, (speaker, session, _) in enumerate(rows)]
    speakers, sessions, genders = zip(*rows, strict=True) if rows else ((), (), ())
    size = len(rows)
    columns = {"utterance": paths, "speaker": speakers, "session": sessions, "root": ["/data"] * size, "path": paths}
    columns |= {"first_sample": [0] * size, "samples": [8000] * size, "sample_rate": [8000] * size}
    columns = {name: pa.array(list(cells)) for name, cells in (columns | {"gender": genders}).items()}
    return as_manifest(pa.table(columns | {"split": pa.array([""] * size)}), "test")


ROWS = (
    [("a", session, "f") for session in "112"]
    + [("b", "", "f")] * 3
    + [("c", session, "m") for session in "1234"]
    + [("d", "1", "m")] * 2
    + [("e", "1", "m")]
    + [("g", "1", "")] * 2
    + [("h", "1", "")]
)


def all_pairs(table: pa.Table, same_gender: bool = True) -> tuple[set[frozenset[str]], set[frozenset[str]]]:
    """Targets and non-targets by the definition."""
    targets, nontargets = set(), set()
    rows = table.to_pylist()
    for one, two in itertools.combinations(rows, 2):
        pair = frozenset((one["utterance"], two["utterance"]))
        if one["speaker"] != two["speaker"] and (not same_gender or one["gender"] == two["gender"]):
            nontargets.add(pair)
        sessions = {row["session"] for row in rows if row["speaker"] == one["speaker"]}
        if one["speaker"] == two["speaker"] and (len(sessions) == 1 or one["session"] != two["session"]):
            targets.add(pair)
    return targets, nontargets


def pairs_of(trials, label: int) -> list[frozenset[str]]:
    rows = np.flatnonzero(trials.labels == label)
    return [frozenset((trials.utterances[trials.enrol[i]], trials.utterances[trials.test[i]])) for i in rows]


def test_all_possible_pairs_are_drawn_when_more_are_asked():
    table = manifest(ROWS)
    trials = draw_trials(table, 10000, seed=0)
    targets, nontargets = all_pairs(table)
    assert sorted(map(sorted, pairs_of(trials, 1))) == sorted(map(sorted, targets))
    assert sorted(map(sorted, pairs_of(trials, 0))) == sorted(map(sorted, nontargets))


def test_halves_without_repetition_from_the_seed():
    table = manifest([(f"s{i % 9}", str(i % 4), "mf"[i % 9 % 2]) for i in range(180)])
    trials = draw_trials(table, 401, seed=3)
    targets, nontargets = all_pairs(table)
    for label, possible, count in [(1, targets, 200), (0, nontargets, 201)]:
        drawn = pairs_of(trials, label)
        assert len(drawn) == len(set(drawn)) == count and set(drawn) <= possible
        assert all(len(pair) == 2 for pair in drawn)
    assert trials.lines.tolist() == list(range(1, 402))
    assert len(set(trials.utterances)) == len(trials.utterances)
    firsts = dict.fromkeys(np.stack([trials.enrol, trials.test], 1).reshape(-1).tolist())
    assert list(firsts) == list(range(len(trials.utterances)))  # order of first appearance
    assert 0 < trials.labels[:50].sum() < 50  # shuffled
    sides = [trials.utterances[a] < trials.utterances[b] for a, b in zip(trials.enrol, trials.test, strict=True)]
    assert 100 < sum(sides) < 300  # either side may be the enrolment
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    again, other = draw_trials(shuffled, 401, seed=3), draw_trials(table, 401, seed=4)
    assert again.utterances == trials.utterances and again.enrol.tolist() == trials.enrol.tolist()
    assert again.labels.tolist() == trials.labels.tolist()
    assert set(pairs_of(other, 1)) != set(pairs_of(trials, 1))


def test_pairs_are_equally_likely():
    table = manifest([("a", "1", "")] * 4 + [("b", str(i), "") for i in range(3)])
    counts = {}
    for seed in range(200):
        for pair in pairs_of(draw_trials(table, 4, seed), 1):
            counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 9  # 6 of a, 3 of b; expected 44 each, standard deviation 6
    assert min(counts.values()) > 20 and max(counts.values()) < 70


def test_one_speaker_of_each_gender_still_gives_nontargets():
    table = manifest([("a", "1", "f")] * 2 + [("b", "1", "m")] * 2)
    trials = draw_trials(table, 100, seed=0)
    assert set(pairs_of(trials, 0)) == all_pairs(table, same_gender=False)[1] and len(pairs_of(trials, 0)) == 4


@pytest.mark.parametrize(
    "rows, count, message",
    [
        ([], 10, "at least 2 held-out speakers, but there are 0"),
        ([("a", "", "")] * 5, 10, "at least 2 held-out speakers, but there are 1"),
        ([("a", "", ""), ("b", "", "")], 10, "no target trials among 2 utterances"),
        (ROWS, 1, "count=1: draw at least 2 trials"),
    ],
)
def test_too_little_to_draw_from(rows, count, message):
    with pytest.raises(InputError, match=message):
        draw_trials(manifest(rows), count, seed=0)


@pytest.fixture(scope="module")
def labelled() -> pa.Table:
    """12 speakers, of two genders and three nationalities, in sessions with a device each; some know less."""
    generator = np.random.default_rng(2)
    rows = [(f"s{i:02d}", f"day{generator.integers(3)}", "mf"[i % 2]) for i in range(12) for _ in range(8)]
    table = manifest(rows)
    speaker = [int(row[0][1:]) for row in rows]
    nation = pa.array([None if i == 11 else ["UK", "US", ""][i % 3] for i in speaker])
    device = pa.array(generator.integers(0, 3, len(rows)))
    table = table.append_column("nationality", nation).append_column("device", device)
    return table.take(generator.permutation(len(rows)))


def pairs_that_meet(table: pa.Table, same: list[str], different: list[str]) -> tuple[set, set]:
    """Targets and non-targets by the definition."""
    sets = set(), set()
    rows = [row for row in table.to_pylist() if all(row[name] not in (None, "") for name in (*same, *different))]
    for one, two in itertools.combinations(rows, 2):
        is_target = one["speaker"] == two["speaker"]
        differ = [name for name in different if name != "session" or is_target]
        if all(one[name] == two[name] for name in same) and all(one[name] != two[name] for name in differ):
            sets[not is_target].add(frozenset((one["utterance"], two["utterance"])))
    return sets


@pytest.mark.parametrize(
    "same, different",
    [
        ([], []),
        (["gender"], ["session"]),
        (["gender", "nationality"], ["session"]),
        ([], ["device"]),
        (["device"], []),
        (["gender"], ["session", "device"]),
        ([], ["nationality"]),
    ],
)
def test_constraints_hold_and_leave_nothing_else_out(labelled, same, different):
    targets, nontargets = pairs_that_meet(labelled, same, different)
    if not targets:  # a speaker has one nationality
        with pytest.raises(InputError, match="no target trials among .* different: nationality"):
            make_trials(labelled, 100, 0, same, different)
        return
    every = make_trials(labelled, 100_000, 0, same, different)
    assert len(every) == len(targets) + len(nontargets)
    assert set(pairs_of(every, 1)) == targets and set(pairs_of(every, 0)) == nontargets
    some = make_trials(labelled, 61, 0, same, different)
    assert (len(pairs_of(some, 1)), len(pairs_of(some, 0))) == (30, 31)
    for label, possible in ((1, targets), (0, nontargets)):
        assert len(set(pairs_of(some, label))) == 30 + (label == 0) and set(pairs_of(some, label)) <= possible


def test_made_trials_come_from_the_seed_alone(labelled):
    first = make_trials(labelled, 50, 7, ["gender"], ["session", "device"])
    again = make_trials(labelled.take(list(range(95, -1, -1))), 50, 7, ["gender"], ["session", "device"])
    assert again.utterances == first.utterances and again.labels.tolist() == first.labels.tolist()
    assert again.enrol.tolist() == first.enrol.tolist() and again.test.tolist() == first.test.tolist()
    other = make_trials(labelled, 50, 8, ["gender"], ["session", "device"])
    assert set(pairs_of(other, 1)) != set(pairs_of(first, 1))


def test_made_pairs_are_equally_likely():
    """Under two constraints, of which one is met by drawing again."""
    table = manifest([("a", str(i // 2), "") for i in range(6)] + [("b", "0", "")] * 2)
    table = table.append_column("device", pa.array([0, 1, 0, 1, 1, 1, 0, 1]))
    targets, _ = pairs_that_meet(table, [], ["session", "device"])
    counts = dict.fromkeys(targets, 0)
    for seed in range(300):
        for pair in pairs_of(make_trials(table, 4, seed, [], ["session", "device"]), 1):
            counts[pair] += 1
    mean = 600 / len(targets)
    assert min(counts.values()) > 0.6 * mean and max(counts.values()) < 1.4 * mean


def test_what_a_list_cannot_be_made_of(labelled):
    for columns in (["age"], ["speaker"]):
        with pytest.raises(InputError, match=f"can't be constrained by '{columns[0]}'; the manifest has session"):
            make_trials(labelled, 10, 0, columns)
    with pytest.raises(InputError, match="count=1: make at least 2"):
        make_trials(labelled, 1, 0)
    with pytest.raises(InputError, match="no utterance is there to make trials of"):
        make_trials(labelled.slice(0, 0), 10, 0)
    with pytest.raises(InputError, match="no utterance has all of gender, session; check"):
        make_trials(manifest([("a", "1", ""), ("b", "1", "")]), 10, 0, ["gender"], ["session"])
    men = manifest([("a", "1", "m")] * 3)
    with pytest.raises(InputError, match="no non-target trials among 3 utterances of 1 speakers"):
        make_trials(men, 10, 0)


def test_rows_with_something_in_each_column(labelled):
    known = with_known(labelled, ["nationality", "gender"])
    assert len(known) == sum(bool(row["nationality"]) for row in labelled.to_pylist()) < len(labelled)
