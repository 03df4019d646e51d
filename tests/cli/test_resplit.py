import pytest

from speakerlab.cli.main import main
from speakerlab.data.manifest import read_manifest, write_manifest
from speakerlab.data.splits import draw_split, is_closed_set, part_of


@pytest.fixture
def prepared(tmp_path):
    """10 speakers with 4 sessions of 2 utterances each, in a folder of its own."""
    import pyarrow as pa

    rows = [(f"s{i}", f"x{j}", f"s{i}/x{j}/{k}.wav") for i in range(10) for j in range(4) for k in range(2)]
    size = len(rows)
    columns = {"utterance": [row[2] for row in rows], "speaker": [row[0] for row in rows]}
    columns |= {"session": [row[1] for row in rows], "root": ["/data"] * size, "path": [row[2] for row in rows]}
    columns |= {"first_sample": [0] * size, "samples": [8000] * size, "sample_rate": [8000] * size}
    columns |= {"split": ["dev"] * size, "gender": ["mf"[int(row[0][1]) % 2] for row in rows]}
    table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
    write_manifest(table, tmp_path / "manifest.parquet")
    return tmp_path


def test_the_column_is_rewritten(prepared, capsys):
    main(["resplit", str(prepared), "--train", ".5", "--val", ".25", "--test", ".25", "--seed", "3"])
    table = read_manifest(prepared / "manifest.parquet")
    expected = draw_split(table, {"train": 0.5, "val": 0.25, "test": 0.25}, "session", 3)
    assert table.equals(expected) and is_closed_set(table)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if " train " in line]
    assert rows == [["│", "train", "│", "40", "│", "50.00", "%", "│", "10", "│", "0.01", "│"]]


def test_another_file_may_be_written(prepared, tmp_path):
    before = (prepared / "manifest.parquet").read_bytes()
    given = ["resplit", str(prepared / "manifest.parquet"), "--train", ".8", "--val", ".2", "--by", "speaker"]
    for target in (tmp_path / "new" / "mine.parquet", tmp_path / "folder"):
        main([*given, "--to", str(target)])
        table = read_manifest(target if target.suffix else target / "manifest.parquet")
        assert not is_closed_set(table) and len(part_of(table, "train")) == 64
    assert (prepared / "manifest.parquet").read_bytes() == before


def test_shares_must_add_up(prepared):
    with pytest.raises(SystemExit, match="error: the split train 0.6, val 0.2: the shares add up to 0.8"):
        main(["resplit", str(prepared), "--train", ".6", "--val", ".2"])
    with pytest.raises(SystemExit, match="error: .*nowhere: no such manifest"):
        main(["resplit", str(prepared / "nowhere"), "--train", ".6", "--val", ".4"])


def test_missed_shares_are_said(prepared, capsys):
    main(["resplit", str(prepared), "--train", ".9", "--val", ".1"])
    said = capsys.readouterr().out
    assert "75.00 %" in said
    assert (
        "warning: train has 75.0 % in place of 90 %, val has 25.0 % in place of 10 % of the utterances: speakers have "
        "too few sessions for such shares, half of them 4 or fewer; a split by utterance comes nearer\n" in said
    )
    main(["resplit", str(prepared), "--train", ".75", "--val", ".25"])
    assert "warning" not in capsys.readouterr().out


def test_a_plain_tree_gets_a_manifest(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEAKERLAB_CACHE", str(tmp_path / "cache"))
    given = ["resplit", str(folders.train), "--train", ".75", "--val", ".25", "--by", "utterance"]
    with pytest.raises(SystemExit, match="error: .*train: holds no manifest.parquet to rewrite; say by --to where"):
        main(given)
    main([*given, "--to", str(tmp_path / "split")])
    assert len(part_of(read_manifest(tmp_path / "split" / "manifest.parquet"), "val")) == 6
