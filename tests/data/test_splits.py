"""Splits against what they promise, counted row by row, and against trying every assignment."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.manifest import as_manifest
from speakerlab.data.splits import (
    PARTS,
    deal_sessions,
    draw_split,
    first_speakers,
    is_closed_set,
    listed_split,
    missed_shares,
    part_of,
    quota,
    rows_of_splits,
    with_split,
)

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def manifest(rows: list[tuple[str, str]]) -> pa.Table:
    """(speaker, session) of each utterance."""
    names = [f"{speaker}/{session}/{i:05d}.wav" for i, (speaker, session) in enumerate(rows)]
    size = len(rows)
    columns = {"utterance": names, "speaker": [row[0] for row in rows], "session": [row[1] for row in rows]}
    columns |= {"root": ["/data"] * size, "path": names, "first_sample": [0] * size, "samples": [8000] * size}
    columns |= {"sample_rate": [8000] * size, "split": ["dev"] * size, "gender": [""] * size}
    return as_manifest(pa.table({name: pa.array(cells) for name, cells in columns.items()}), "test")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """30 speakers of 3 to 15 sessions, called alike by all, of 1 to 9 utterances each, in random order."""
    generator = np.random.default_rng(0)
    rows = [
        (f"s{speaker:02d}", f"day{session}")
        for speaker in range(30)
        for session in range(generator.integers(3, 16))
        for _ in range(generator.integers(1, 10))
    ]
    return manifest(rows).take(generator.permutation(len(rows)))


def parts_by_name(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["utterance"].to_pylist(), table["split"].to_pylist(), strict=True))


def counts(table: pa.Table) -> dict[str, Counter]:
    """Utterances of each speaker in each part."""
    found = defaultdict(Counter)
    for row in table.to_pylist():
        found[row["speaker"]][row["split"]] += 1
    return found


@pytest.mark.parametrize("by", ["utterance", "session", "speaker"])
def test_what_a_name_gets_depends_on_the_seed_alone(table, by):
    first = parts_by_name(draw_split(table, SHARES, by, seed=3))
    order = np.random.default_rng(1).permutation(len(table))
    assert parts_by_name(draw_split(table.take(order), SHARES, by, seed=3)) == first
    assert parts_by_name(draw_split(table, SHARES, by, seed=4)) != first
    if by != "speaker":  # other speakers change nothing
        some = first_speakers(table, 7)
        assert parts_by_name(draw_split(some, SHARES, by, seed=3)).items() <= first.items()
    drawn = draw_split(table, SHARES, by, seed=3)
    assert drawn.drop(["split"]).equals(table.drop(["split"])) and drawn.schema == table.schema


@pytest.mark.parametrize("shares", [SHARES, {"train": 0.9, "val": 0.1}, {"test": 0.5, "train": 0.5}])
def test_by_utterance(table, shares):
    for found in counts(draw_split(table, shares, "utterance", seed=1)).values():
        size = sum(found.values())
        assert set(found) == set(shares)
        assert all(abs(found[name] - shares[name] * size) < 1 or found[name] == 1 for name in shares)


def test_by_session(table):
    drawn = draw_split(table, SHARES, "session", seed=1)
    places = defaultdict(set)
    for row in drawn.to_pylist():
        places[row["speaker"], row["session"]].add(row["split"])
    assert all(len(parts) == 1 for parts in places.values())
    off = []
    for speaker, found in counts(drawn).items():
        assert set(found) == set(SHARES)
        size, sessions = sum(found.values()), sum(owner == speaker for owner, _ in places)
        if sessions >= 8:
            off.append(sum(abs(found[name] - SHARES[name] * size) for name in SHARES) / size)
    assert len(off) > 10 and max(off) < 0.05


def test_by_speaker(table):
    drawn = draw_split(table, SHARES, "speaker", seed=1)
    speakers = {name: set(part_of(drawn, name)["speaker"].to_pylist()) for name in PARTS}
    assert [len(speakers[name]) for name in PARTS] == [18, 6, 6]
    assert len(set.union(*speakers.values())) == 30


def best_error(sizes: list[int], shares: np.ndarray) -> float:
    """Of all assignments without an empty part, by trying them one by one."""
    best = np.inf
    for assignment in itertools.product(range(len(shares)), repeat=len(sizes)):
        totals = [sum(size for size, part in zip(sizes, assignment, strict=True) if part == p) for p in range(3)]
        if min(totals):
            best = min(best, sum(abs(total - share * sum(sizes)) for total, share in zip(totals, shares, strict=True)))
    return best


def test_sessions_are_dealt_as_well_as_can_be():
    generator, shares = np.random.default_rng(5), np.array([0.6, 0.25, 0.15])
    for sessions in (3, 4, 6, 8):
        for _ in range(3):
            sizes = generator.integers(1, 12, sessions)
            totals = np.bincount(deal_sessions(sizes, shares), sizes, minlength=3)
            assert np.abs(totals - shares * sizes.sum()).sum() == pytest.approx(best_error(sizes.tolist(), shares))
            assert totals.min() > 0


def test_many_sessions_are_dealt_to_the_utterance():
    generator = np.random.default_rng(6)
    for shares in (np.array([0.6, 0.2, 0.2]), np.array([0.34, 0.33, 0.33])):
        sizes = generator.integers(1, 20, 60)
        totals = np.bincount(deal_sessions(sizes, shares), sizes, minlength=3)
        assert np.abs(totals - shares * sizes.sum()).max() < 1


def test_every_session_may_go_anywhere():
    """Over seeds, a session of three is in each part as often."""
    table = manifest([("a", session) for session in "xyz" for _ in range(4)])
    seen = Counter(
        parts_by_name(draw_split(table, SHARES, "session", seed))["a/x/00000.wav"] for seed in range(150)
    )  # expected 50 each, standard deviation 6
    assert set(seen) == set(PARTS) and min(seen.values()) > 28


@pytest.mark.parametrize("shares", [[0.6, 0.2, 0.2], [0.7, 0.15, 0.15], [0.98, 0.01, 0.01], [0.34, 0.66]])
def test_quota_is_the_nearest(shares):
    shares = np.array(shares)
    for count in range(len(shares), 25):
        given = quota(count, shares)
        assert given.sum() == count and given.min() >= 1
        others = itertools.product(range(1, count + 1), repeat=len(shares))
        best = min(np.abs(np.array(other) - count * shares).sum() for other in others if sum(other) == count)
        assert np.abs(given - count * shares).sum() == pytest.approx(best)


@pytest.mark.parametrize(
    "rows, by, message",
    [
        ([("a", s) for s in "xyz"] + [("b", s) for s in "xyy"], "session", r"1 of 2 .* such as b with 2; .*utterance"),
        ([("a", "")] * 9 + [("b", "")] * 9, "session", "2 of 2 speakers have fewer sessions"),
        ([("a", "x")] * 3 + [("b", "x")] * 2, "utterance", "1 of 2 speakers have fewer utterances .* b with 2"),
        ([(f"s{i}", "x") for i in range(5)], "speaker", "needs 2 speakers in each, but there are 5"),
        ([(f"s{i}", "x") for i in range(6)], "speaker", "leaves one part with a single one"),
    ],
)
def test_too_little_to_divide(rows, by, message):
    with pytest.raises(InputError, match=message):
        draw_split(manifest(rows), SHARES, by, seed=0)


@pytest.mark.parametrize(
    "shares, by, message",
    [
        ({"train": 0.6, "dev": 0.4}, "session", "must name train and one or both of val and test"),
        ({"val": 0.6, "test": 0.4}, "session", "must name train"),
        ({"train": 1.0}, "session", "must name train"),
        ({"train": 0.6, "val": 0.3}, "session", "the shares add up to 0.9"),
        ({"train": 1.2, "val": -0.2}, "session", "between 0 and 1"),
        ({"train": "much", "val": 0.5}, "session", "between 0 and 1"),
        (SHARES, "video", "split_by=video must be one of utterance, session, speaker"),
    ],
)
def test_bad_shares(table, shares, by, message):
    with pytest.raises(InputError, match=message):
        draw_split(table, shares, by, seed=0)


def test_first_speakers(table):
    some = first_speakers(table, 2)
    assert set(some["speaker"].to_pylist()) == {"s00", "s01"}
    assert len(some) == sum(row["speaker"] in ("s00", "s01") for row in table.to_pylist())
    for count in (-1, 1, 31):
        with pytest.raises(InputError, match=f"n_speakers={count} must be between 2 and the 30 speakers"):
            first_speakers(table, count)


def test_a_list_divides(tmp_path):
    table = manifest([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("b", "z")])
    lines = ["1 a/x/00000.flac", "2 b/x/00002.wav", "", "3 b/y/00003.wav", "1 a/y/00001.wav", "3 c/x/7.wav"]
    path = tmp_path / "iden_split.txt"
    path.write_text("\n".join(lines))
    chosen, missing = listed_split(table, path)
    expected = {"a/x/00000.wav": "train", "a/y/00001.wav": "train", "b/x/00002.wav": "val", "b/y/00003.wav": "test"}
    assert parts_by_name(chosen) == expected and missing == 1
    assert chosen.schema == table.schema


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 a/x/00000.wav\n4 a/y/00001.wav\n", "iden.txt, line 2: the part is neither 1"),
        ("1 a/x/00000.wav\n\n2\n", "iden.txt, line 3: not two columns: '2'"),
        ("\n", "iden.txt: is empty"),
        ("1 a/x/00000.wav\n2 c.wav\n3 a/y/00001.wav\n", "none of its lines for val names an utterance"),
        ("1 a/x/00000.wav\n2 a/x/00000.flac\n3 a/y/00001.wav\n", "names an utterance more than once"),
        (None, "the split list can't be read"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    path = tmp_path / "iden.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        listed_split(manifest([("a", "x"), ("a", "y")]), path)


@pytest.mark.parametrize(
    "speakers, parts, expected",
    [
        ("aabb", ["train", "val", "train", "test"], True),
        ("abc", ["train", "val", "test"], False),
        ("aabc", ["train", "val", "dev", "dev"], True),
        ("aab", ["train", "val", "val"], "1 of the 2 speakers of val and test are in train .* such as b, are not"),
        ("aab", ["train", "train", "test"], "no utterance is in val"),
        ("aab", ["dev", "val", "test"], "no utterance is in train"),
    ],
)
def test_the_kind_of_a_split(speakers, parts, expected):
    table = with_split(manifest([(speaker, "x") for speaker in speakers]), pa.array(parts))
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            is_closed_set(table)
    else:
        assert is_closed_set(table) == expected


def test_splits_by_name():
    table = manifest([("a", "x"), ("b", "x"), ("c", "x")])
    table = with_split(table, pa.array(["dev", "test", "dev"]))
    assert rows_of_splits(table, ["dev"], "here")["speaker"].to_pylist() == ["a", "c"]
    assert len(rows_of_splits(table, ["test", "dev"], "here")) == 3
    with pytest.raises(InputError, match="^here: has no utterance of split 'tst'; it has 'dev', 'test'$"):
        rows_of_splits(table, ["dev", "tst"], "here")


def test_shares_that_are_missed_are_told(table):
    assert missed_shares(draw_split(table, SHARES, "utterance", 1), SHARES, "utterance") is None
    few = manifest([(f"s{i}", f"day{j}") for i in range(10) for j in range(3) for _ in range(10)])
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    line = missed_shares(draw_split(few, shares, "session", 1), shares, "session")
    thirds = ", ".join(f"{name} has 33.3 % in place of {100 * share:g} %" for name, share in shares.items())
    assert line == (
        f"warning: {thirds} of the utterances: speakers have too few sessions for such shares, half of them 3 or "
        "fewer; a split by utterance comes nearer"
    )
    assert missed_shares(draw_split(few, shares, "utterance", 1), shares, "utterance") is None
    shares = {"train": 0.65, "val": 0.35}
    seven = manifest([(f"s{i}", "day") for i in range(7) for _ in range(1 + 9 * (i == 0))])  # one who speaks much
    assert missed_shares(draw_split(seven, shares, "speaker", 1), shares, "speaker") == (
        "warning: train has 71.4 % in place of 65 %, val has 28.6 % in place of 35 % of the speakers: there are too "
        "few of them for such shares"
    )
