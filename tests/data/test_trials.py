"""Lists against a line-by-line reader, and messages."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.manifest import write_manifest
from speakerlab.data.trials import (
    VOXCELEB_COUNTS,
    Trials,
    check_official_count,
    find_list,
    locate_utterances,
    only_between,
    read_trials,
    rename_utterances,
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


CSV = "Label, enrol ,test\n1,a/1.wav,a/2.wav\n0,b/1.wav,a/1.wav\n\n1,b/1.wav,b/2.wav\n"


@pytest.mark.parametrize(
    "text, lines",
    [
        (CSV, [2, 3, 5]),
        (CSV.replace("\n", "\r\n"), [2, 3, 5]),
        (
            "\ufeffspeaker,Test,enroll,key,score\nx,a/2.wav,a/1.wav,target,0\n,a/1.wav,b/1.wav,False,\nx,b/2.wav,b/1.wav,TRUE,1",
            [2, 3, 4],
        ),
        ('label,enrol,test\n"1","a/1.wav","a/2.wav"\n0,b/1.wav,a/1.wav\n1,b/1.wav,"b/2.wav"\n', [2, 3, 4]),
    ],
)
def test_csv_by_its_header(tmp_path, text, lines):
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode())
    trials = read_trials(path)
    assert trials.utterances == ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"]
    assert trials.labels.tolist() == [1, 0, 1] and trials.labels.dtype == np.int8
    assert trials.enrol.tolist() == [0, 2, 2] and trials.test.tolist() == [1, 0, 3]
    assert trials.lines.tolist() == lines and trials.lines.dtype == np.int32


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "list.csv, line 1: the header has no column label (label or target or key): ''"),
        ("1,a,b\n0,a,c\n", "list.csv, line 1: the header has no column label"),
        ("label,enrol\n", "line 1: the header has no column test (test): 'label,enrol'"),
        ("label,enrol,test\n", "list.csv: holds no trials"),
        ("label,enrol,test\n1,a,b\n\n1,a\n", "list.csv, line 4: not 3 columns: '1,a'"),
        ("label,enrol,test\n1,a,b\nmaybe,a,c\n", "list.csv, line 3: label not 1 or 0: 'maybe,a,c'"),
        ("label,enrol,test\n1,a,\n", "list.csv, line 2: no name of an utterance: '1,a,'"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_trials(tmp_path / "list.csv")


@pytest.mark.parametrize("form, expected", [("voxceleb", VOXCELEB), ("kaldi", KALDI), ("csv", CSV)])
def test_written_forms(tmp_path, form, expected):
    (tmp_path / "list.txt").write_text(VOXCELEB)
    path = tmp_path / "new" / ("copy.csv" if form == "csv" else "copy.txt")
    write_trials(read_trials(tmp_path / "list.txt"), path, form)
    if form == "csv":
        expected = expected.replace("Label, enrol ", "label,enrol").replace("\n\n", "\n")
    assert path.read_bytes() == expected.encode()
    again = read_trials(path)
    assert again.utterances == ["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav"] and again.labels.tolist() == [1, 0, 1]


def test_only_csv_holds_any_name(tmp_path):
    names = ['a b/"1".wav', "c,d.wav", " e", "f"]
    ends = np.array([0, 2], np.int32), np.array([1, 3], np.int32)
    trials = Trials(np.array([1, 0], np.int8), *ends, names, np.arange(1, 3), "test")
    for form in ("voxceleb", "kaldi"):
        with pytest.raises(InputError, match=r"2 names have spaces, such as 'a b/\"1\"\.wav'; write a CSV list"):
            write_trials(trials, tmp_path / "list.txt", form)
    assert not (tmp_path / "list.txt").exists()
    write_trials(trials, tmp_path / "list.csv", "csv")
    assert read_trials(tmp_path / "list.csv").utterances == ['a b/"1".wav', "c,d.wav", "e", "f"]


@pytest.mark.parametrize("form", ["voxceleb", "kaldi", "csv"])
@pytest.mark.parametrize("name", ["a\n", "a\rb", "\x0ba"])
def test_no_list_holds_a_line_break(tmp_path, form, name):
    ends = np.array([0], np.int32), np.array([1], np.int32)
    trials = Trials(np.array([1], np.int8), *ends, [name, "b"], np.arange(1, 2), "test")
    with pytest.raises(InputError, match="1 names have line breaks, such as .*; rename the files"):
        write_trials(trials, tmp_path / "list.csv", form)
    assert not list(tmp_path.iterdir())


def test_a_line_break_within_quotes_is_refused(tmp_path):
    for text in ('1,"a\nb",c\n0,d,e\n', '1,"a",b\n0,c\rd,e\n'):
        (tmp_path / "list.csv").write_text(f"label,enrol,test\n{text}", newline="")
        with pytest.raises(InputError, match=r"list\.csv"):
            read_trials(tmp_path / "list.csv")


def test_other_names(tmp_path):
    (tmp_path / "list.txt").write_text("1 wav/a/1.wav wav/a/2.WAV\n0 wav/b.c/1 wav/a/1.wav\n")
    trials = read_trials(tmp_path / "list.txt")
    assert rename_utterances(trials, "", "", None).utterances == trials.utterances
    assert rename_utterances(trials, "wav/", "/x/", None).utterances == ["/x/a/1.wav", "/x/a/2.WAV", "/x/b.c/1"]
    assert rename_utterances(trials, "", "", ".flac").utterances == ["wav/a/1.flac", "wav/a/2.flac", "wav/b.c/1.flac"]
    assert rename_utterances(trials, "wav/", "", "").utterances == ["a/1", "a/2", "b.c/1"]
    with pytest.raises(InputError, match=r"list\.txt, line 2: 'wav/b\.c/1' does not begin with 'wav/a', nor do 0 of"):
        rename_utterances(trials, "wav/a", "", None)
    (tmp_path / "list.txt").write_text("1 a.wav a.flac\n")
    with pytest.raises(InputError, match="two utterances would both be called 'a'"):
        rename_utterances(read_trials(tmp_path / "list.txt"), "", "", "")


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


def prepared(root, names: list[str]) -> None:
    """A folder with a manifest whose utterances lie elsewhere than their ids say."""
    size = len(names)
    columns = {"utterance": names, "speaker": [name.split("/")[0] for name in names], "session": [""] * size}
    columns |= {"root": [str(root)] * size, "path": [f"audio/{i}.flac" for i in range(size)], "split": [""] * size}
    columns |= {"first_sample": [0] * size, "samples": [8000] * size, "sample_rate": [8000] * size}
    write_manifest(
        pa.table({name: pa.array(cells) for name, cells in (columns | {"gender": [""] * size}).items()}),
        root / "manifest.parquet",
    )


def test_a_prepared_folder_is_looked_up_in_its_manifest(tmp_path):
    prepared(tmp_path / "one", ["a/1.wav", "b/1.flac", "b/2.flac"])
    (tmp_path / "two" / "c").mkdir(parents=True)
    (tmp_path / "two" / "c" / "1.wav").touch()
    (tmp_path / "list.txt").write_text("1 b/1.wav b/2.flac\n0 c/1.wav a/1.wav\n")
    trials, roots = read_trials(tmp_path / "list.txt"), [tmp_path / "one", tmp_path / "two"]
    audio = [tmp_path / "one" / "audio" / f"{i}.flac" for i in range(3)]
    assert locate_utterances(trials, roots) == [audio[1], audio[2], tmp_path / "two/c/1.wav", audio[0]]
    with pytest.raises(InputError, match=r"1 of 4 utterances have no file under .*: c/1\.wav \(line 2\)"):
        locate_utterances(trials, roots[:1])


def test_lists_by_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = ["here.txt", "one/trials/veri_test2.txt", "two/vox1_E_cleaned.txt", "two/trials/mine.txt"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    roots = [tmp_path / "one", tmp_path / "two"]
    assert find_list("here.txt", roots) == Path("here.txt")
    for name in ("vox1_o_cleaned", "vox1-O-cleaned", "veri_test2", "veri_test2.txt"):
        assert find_list(name, roots) == tmp_path / "one/trials/veri_test2.txt"
    assert find_list("vox1_E_cleaned.txt", roots) == tmp_path / "two/vox1_E_cleaned.txt"
    assert find_list("mine.txt", roots) == tmp_path / "two/trials/mine.txt"
    with pytest.raises(
        InputError, match=r"trials=vox1_h: .* nor in .*one/trials or .*two/trials as vox1_h, .*hard\.txt"
    ):
        find_list("vox1_h", roots)
    with pytest.raises(InputError, match=r"trials=gone/veri_test2\.txt: there is no such file, nor in"):
        find_list("gone/veri_test2.txt", roots)


def test_what_is_left_is_what_its_list_would_say(tmp_path):
    """Written and read again: utterances in order of first appearance, which among all trials is another."""
    path = tmp_path / "all.txt"
    path.write_text("1 x/1 a/1\n0 b/1 a/2\n1 a/2 a/1\n0 c/1 b/1\n1 x/1 x/2\n")
    trials = read_trials(path)
    left = only_between(trials, [not name.startswith("x") for name in trials.utterances])
    write_trials(left, tmp_path / "left.txt")
    again = read_trials(tmp_path / "left.txt")
    assert left.utterances == again.utterances == ["b/1", "a/2", "a/1", "c/1"]
    for column in ("labels", "enrol", "test"):
        assert getattr(left, column).tolist() == getattr(again, column).tolist()
    assert left.lines.tolist() == [2, 3, 4]
