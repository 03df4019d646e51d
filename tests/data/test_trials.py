"""Lists against a line-by-line reader, drawn trials against all pairs by brute force, and messages."""

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.manifest import as_manifest
from speakerlab.data.trials import (
    VOXCELEB_COUNTS,
    check_official_count,
    draw_trials,
    locate_utterances,
    read_trials,
    write_trials,
)

VOXCELEB = "1 a/1.wav a/2.wav\n0 b/1.wav a/1.wav\n1 b/1.wav b/2.wav\n"
KALDI = "a/1.wav a/2.wav target\nb/1.wav a/1.wav nontarget\nb/1.wav b/2.wav target\n"


@pytest.mark.parametrize(
    "text, lines",
    [
        (VOXCELEB, [1, 2, 3]),
        (KALDI, [1, 2, 3]),
        (VOXCELEB.replace(" ", "\t"), [1, 2, 3]),
        (VOXCELEB.replace("\n", "\r\n"), [1, 2, 3]),
        (KALDI.replace("\n", "\r\n"), [1, 2, 3]),
        (VOXCELEB.rstrip("\n"), [1, 2, 3]),
        ("\ufeff\n \t \n  " + VOXCELEB.replace("\n", "  \n\n").replace(" ", "  "), [3, 5, 7]),
    ],
)
def test_both_forms_and_their_disguises(tmp_path, text, lines):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    trials = read_trials(path)
    assert trials.utterances == ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"]
    assert trials.labels.tolist() == [1, 0, 1] and trials.labels.dtype == np.int8
    assert trials.enrol.tolist() == [0, 2, 2] and trials.enrol.dtype == np.int32
    assert trials.test.tolist() == [1, 0, 3] and trials.test.dtype == np.int32
    assert trials.lines.tolist() == lines and trials.lines.dtype == np.int32
    assert trials.source == str(path) and len(trials) == 3


def test_names_that_look_like_labels(tmp_path):
    (tmp_path / "list.txt").write_text("1 0 target\n0 1 nontarget\n0 2 target\n")
    trials = read_trials(tmp_path / "list.txt")
    pairs = [(trials.utterances[a], trials.utterances[b]) for a, b in zip(trials.enrol, trials.test, strict=True)]
    assert pairs == [("1", "0"), ("0", "1"), ("0", "2")] and trials.labels.tolist() == [1, 0, 1]
    (tmp_path / "list.txt").write_text("1 target 0\n0 1 target\n")
    trials = read_trials(tmp_path / "list.txt")
    pairs = [(trials.utterances[a], trials.utterances[b]) for a, b in zip(trials.enrol, trials.test, strict=True)]
    assert pairs == [("target", "0"), ("1", "target")] and trials.labels.tolist() == [1, 0]


def test_a_large_list_against_a_loop(tmp_path):
    rng = np.random.default_rng(1)
    rows = [f"{i % 2} id{a}/é{a}.wav id{b}/é{b}.wav" for i, (a, b) in enumerate(rng.integers(300, size=(5000, 2)))]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    trials = read_trials(path)
    assert [
        f"{label} {trials.utterances[enrol]} {trials.utterances[test]}"
        for label, enrol, test in zip(trials.labels, trials.enrol, trials.test, strict=True)
    ] == rows
    words = [word for row in rows for word in row.split()[1:]]
    assert trials.utterances == list(dict.fromkeys(words))
    write_trials(trials, tmp_path / "new" / "copy.txt")
    assert (tmp_path / "new" / "copy.txt").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 a b\n\n0 a\n", "list.txt, line 3: not three columns: '0 a'"),
        ("1 a b\n0 a b c d\n1 c\n", "list.txt, line 2: not three columns: '0 a b c d' (and 1 more)"),
        ("1 a b\n2 a c\n", "list.txt, line 2: label not 1 or 0: '2 a c'"),
        ("1 a b\na c target\n", "list.txt, line 2: label not 1 or 0: 'a c target'"),
        ("a b target\na c tgt\n", "list.txt, line 2: label not target or nontarget: 'a c tgt'"),
        ("a b 1\n", "list.txt, line 1: neither 'label enrol test' with label 0 or 1 nor 'enrol test target|nontarget'"),
        ("1,a,b\n", "list.txt, line 1: not three columns: '1,a,b'"),
        ("", "list.txt: holds no trials; a line is 'label enrol test', such as"),
        (" \r\n\n", "list.txt: holds no trials"),
    ],
)
def test_bad_lines_are_shown(tmp_path, text, message):
    (tmp_path / "list.txt").write_bytes(text.encode())
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_trials(tmp_path / "list.txt")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(InputError, match=r"list\.txt: the trial list can't be read \(No such file or directory\)"):
        read_trials(tmp_path / "list.txt")
    with pytest.raises(InputError, match=r"can't be read \(Is a directory\)"):
        read_trials(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(InputError, match=r"a\.wav: not a trial list in UTF-8 text \(byte 4\)"):
        read_trials(tmp_path / "a.wav")


def test_official_counts(tmp_path):
    assert sorted(set(VOXCELEB_COUNTS.values())) == [37611, 37720, 550894, 552536, 579818, 581480]
    for name, count in [
        ("vox1_O.txt", 37720),
        ("veri_test.txt", 37720),
        ("vox1-O-cleaned.txt", 37611),
        ("vox1_O_cleaned.kaldi", 37611),
        ("veri_test2.txt", 37611),
        ("vox1_E", 581480),
        ("list_test_all.txt", 581480),
        ("list_test_all2.txt", 579818),
        ("vox1_H.txt", 552536),
        ("list_test_hard.txt", 552536),
        ("list_test_hard2.txt", 550894),
    ]:
        check_official_count(name, count)
        with pytest.raises(InputError, match=f"^{re.escape(name)}: holds 14 trials, but .* has {count:,}; "):
            check_official_count(name, 14)
    check_official_count("my_vox1_O.txt", 14)
    with pytest.raises(InputError, match="has the count of vox1_o_cleaned: rename it so"):
        check_official_count("vox1_O.txt", 37611)
    (tmp_path / "veri_test.txt").write_text(VOXCELEB)
    with pytest.raises(InputError, match=r"veri_test\.txt: holds 3 trials, but VoxCeleb's list .* has 37,720"):
        read_trials(tmp_path / "veri_test.txt")


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


def test_files_are_found_under_any_root_and_suffix(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    in_one, in_two = ("a/1.wav", "a/1.flac", "a/2.m4a", "b/1.flac"), ("b/1.wav", "b/2.c.ogg")
    for path in [one / name for name in in_one] + [two / name for name in in_two]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "list.txt").write_text("1 a/1.wav a/2.wav\n0 b/1.wav b/2.c\n")
    trials = read_trials(tmp_path / "list.txt")
    found = [one / "a/1.wav", one / "a/2.m4a", one / "b/1.flac", two / "b/2.c.ogg"]
    assert locate_utterances(trials, [one, two]) == found
    assert locate_utterances(trials, [two, one])[2] == two / "b/1.wav"


def test_missing_files_are_named_with_their_lines(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.wav").touch()
    text = "\n1 a/1.wav a/2.wav\n0 b/1.wav a/1.wav\n1 b/1.wav b/2.wav\n0 c/9.wav a/1.wav\n"
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        locate_utterances(read_trials(tmp_path / "list.txt"), [tmp_path, tmp_path / "x"])
    assert str(caught.value) == (
        f"{tmp_path}/list.txt: 4 of 5 utterances have no file under {tmp_path} or {tmp_path}/x, whatever the audio "
        "suffix: a/2.wav (line 2), b/1.wav (line 3), b/2.wav (line 4), ...; give the folder that the list's names "
        "start from"
    )
