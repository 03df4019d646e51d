import pyarrow as pa
import pytest

from speakerlab.cli.main import main
from speakerlab.data.manifest import write_manifest
from speakerlab.data.trials import read_trials

LIST = "1 wav/a/1.wav wav/a/2.wav\n0 wav/b/1.wav wav/a/1.wav\n"


def test_round_trip_through_every_form(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("list.txt", "a.csv", "b.kaldi", "c.txt")]
    (tmp_path / "list.txt").write_text(LIST)
    main(["trials", "convert", *paths[:2]])
    assert capsys.readouterr().out == f"{paths[1]}: 1 targets, 1 non-targets, 3 utterances\n"
    rows = ["label,enrol,test", "1,wav/a/1.wav,wav/a/2.wav", "0,wav/b/1.wav,wav/a/1.wav"]
    assert (tmp_path / "a.csv").read_text().splitlines() == rows
    names = ["--strip-prefix", "wav/", "--add-prefix", "x/", "--suffix", ""]
    main(["trials", "convert", *paths[1:3], "--to", "kaldi", *names])
    assert (tmp_path / "b.kaldi").read_text() == "x/a/1 x/a/2 target\nx/b/1 x/a/1 nontarget\n"
    names = ["--strip-prefix", "x/", "--add-prefix", "wav/", "--suffix", ".wav"]
    main(["trials", "convert", *paths[2:], *names])
    assert (tmp_path / "c.txt").read_text() == LIST


def test_a_wrong_prefix_is_named(tmp_path):
    (tmp_path / "list.txt").write_text(LIST)
    with pytest.raises(SystemExit, match=r"error: .*list\.txt, line 2: 'wav/b/1.wav' does not begin with 'wav/a'"):
        main(["trials", "convert", str(tmp_path / "list.txt"), str(tmp_path / "x.txt"), "--strip-prefix", "wav/a"])
    assert not (tmp_path / "x.txt").exists()


@pytest.fixture
def manifest(tmp_path):
    """8 speakers of two genders with 3 sessions of 2 utterances each; half are in `test`, one has no nationality."""
    rows = [(i, j, f"s{i}/x{j}/{k}.wav") for i in range(8) for j in range(3) for k in range(2)]
    size = len(rows)
    columns = {"utterance": [row[2] for row in rows], "speaker": [f"s{row[0]}" for row in rows]}
    columns |= {"session": [f"x{row[1]}" for row in rows], "root": ["/data"] * size, "path": [row[2] for row in rows]}
    columns |= {"first_sample": [0] * size, "samples": [8000] * size, "sample_rate": [8000] * size}
    columns |= {"split": [("test", "dev")[row[0] // 4] for row in rows], "gender": ["mf"[row[0] % 2] for row in rows]}
    columns["nationality"] = [None if row[0] == 7 else ["UK", "US"][row[0] // 2 % 2] for row in rows]
    write_manifest(pa.table({name: pa.array(cells) for name, cells in columns.items()}), tmp_path / "manifest.parquet")
    return tmp_path


def test_a_list_is_made(manifest, capsys):
    given = ["trials", "make", str(manifest), "--count", "40", "--seed", "2", "-o", str(manifest / "list.txt")]
    main([*given, "--split", "test", "--same", "gender", "--different", "session"])
    trials = read_trials(manifest / "list.txt")
    counts = f"20 targets, 20 non-targets, {len(trials.utterances)} utterances"
    assert capsys.readouterr().out == f"{manifest / 'list.txt'}: {counts}, 4 speakers\n"
    pairs = [
        (label, trials.utterances[a].split("/"), trials.utterances[b].split("/"))
        for label, a, b in zip(trials.labels, trials.enrol, trials.test, strict=True)
    ]
    assert all(label == (a[0] == b[0]) and (not label or a[1] != b[1]) for label, a, b in pairs)
    assert all(int(a[0][1]) % 2 == int(b[0][1]) % 2 and int(a[0][1]) < 4 for _, a, b in pairs)
    text = (manifest / "list.txt").read_text()
    main([*given, "--split", "test", "--same", "gender", "--different", "session"])
    assert (manifest / "list.txt").read_text() == text


def test_what_is_left_out_is_said(manifest, capsys):
    main(
        [
            "trials",
            "make",
            str(manifest),
            "--count",
            "1000",
            "--same",
            "gender,nationality",
            "-o",
            str(manifest / "l.csv"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    # 7 speakers with 15 pairs each; 3 pairs of speakers alike with 36 pairs each.
    assert lines[0].endswith("l.csv: 105 targets, 108 non-targets, 42 utterances, 7 speakers")
    assert lines[1] == "left out: 6 of 48 utterances, of which gender, nationality is unknown"
    assert lines[2] == "787 fewer than asked: no more pairs meet the constraints"
    assert len(read_trials(manifest / "l.csv")) == 213


def test_an_unknown_column_is_named(manifest):
    with pytest.raises(SystemExit, match="error: trials can't be constrained by 'age'; the manifest has .*nationality"):
        main(["trials", "make", str(manifest), "--count", "10", "--same", "age", "-o", str(manifest / "l.txt")])


def test_an_unknown_split_is_named_with_those_that_there_are(manifest):
    given = ["trials", "make", str(manifest), "--count", "10", "-o", str(manifest / "l.txt")]
    with pytest.raises(SystemExit, match="error: .*: has no utterance of split 'tst'; it has 'dev', 'test'"):
        main([*given, "--split", "tst"])
    assert not (manifest / "l.txt").exists()


def test_of_a_plain_tree(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SPEAKERLAB_CACHE", str(tmp_path / "cache"))
    main(["trials", "make", str(folders.train), "--count", "20", "-o", str(tmp_path / "l.txt")])
    assert "train: 24 utterances of 6 speakers" in capsys.readouterr().out
    assert all((folders.train / name).is_file() for name in read_trials(tmp_path / "l.txt").utterances)


def test_a_suffix_begins_with_a_dot(tmp_path):
    (tmp_path / "list.txt").write_text("1 a/x/1.wav a/y/2.wav\n0 a/x/1.wav b/y/2.wav\n")
    with pytest.raises(SystemExit, match="--suffix flac must begin with a dot: --suffix .flac"):
        main(["trials", "convert", str(tmp_path / "list.txt"), str(tmp_path / "new.txt"), "--suffix", "flac"])
    assert not (tmp_path / "new.txt").exists()
