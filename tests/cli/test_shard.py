"""`speakerlab shard` as a user types it."""

import shlex

import pytest
from shard_files import make_manifest

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.cli.main import main
from speakerlab.cli.shard import parse_size
from speakerlab.data.manifest import write_manifest
from speakerlab.data.shards.index import read_index


@pytest.fixture
def manifest(tmp_path):
    write_manifest(make_manifest(tmp_path / "voices", speakers=8, utterances=4), tmp_path / "manifest.parquet")
    return str(tmp_path / "manifest.parquet")


def test_packs_and_says_so(manifest, tmp_path, capsys):
    (tmp_path / "voices/s3/1.wav").write_bytes(b"rubbish")
    given = ["--shard-items", "10", "--heldout-speakers", "3", "--heldout-trials", "20", "--max-bad-share", "0.1"]
    (tmp_path / "names.txt").write_text("s0\ns1\ns2\n")
    given[given.index("3")] = str(tmp_path / "names.txt")
    main(["shard", manifest, "--to", str(tmp_path / "to"), *given, "--workers", "2"])
    said = capsys.readouterr().out
    assert "19 utterances of 5 speakers in 2 shards, 0.00 GB, of which this run made 2" in said
    assert f"left out 1 that can't be read, listed in {tmp_path}/to/unreadable.csv" in said
    assert f"12 utterances of held-out speakers and trials in {tmp_path}/to/heldout" in said
    assert f"python train.py data=shards data.root={tmp_path}/to" in said
    main(["shard", manifest, "--to", str(tmp_path / "to"), *given])
    assert "of which this run made 0" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a b", "x[red]y", """a'b, "c=d""", "ünï (1)", "$HOME"])
def test_what_is_to_be_typed_next_is_understood(manifest, tmp_path, capsys, name):
    main(["shard", manifest, "--to", str(tmp_path / name), "--workers", "1"])
    typed = capsys.readouterr().out.splitlines()[-1].partition("train.py ")[2]
    cfg, _ = compose("train", shlex.split(typed))
    assert cfg.data.root == str(tmp_path / name)


def test_one_split(manifest, tmp_path):
    main(["shard", manifest, "--to", str(tmp_path / "to"), "--split", "dev", "--format", "copy"])
    assert read_index(str(tmp_path / "to")).speakers == {"s0": 4}
    with pytest.raises(SystemExit, match="error: .*parquet: has no utterance of split 'tset'; it has '', 'dev'"):
        main(["shard", manifest, "--to", str(tmp_path / "to"), "--split", "tset"])


def test_a_folder_with_a_manifest(manifest, tmp_path):
    main(["shard", str(tmp_path), "--to", str(tmp_path / "to"), "--format", "copy"])
    assert len(read_index(str(tmp_path / "to"))) == 32


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--format", "mp3"], "error: format 'mp3' must be one of flac, opus, copy"),
        (["--shard-size", "big"], "error: --shard-size big: give a size such as 500MB or 1GB"),
        (["--shard-items", "0"], "error: shard-items=0 must be at least 1"),
        (["--heldout-speakers", "7"], "error: --heldout-speakers 7 must leave at least 2 of 8"),
    ],
)
def test_mistakes_are_one_line(manifest, tmp_path, arguments, expected):
    with pytest.raises(SystemExit, match=expected):
        main(["shard", manifest, "--to", str(tmp_path / "to"), *arguments])
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "text, expected", [("1GB", 10**9), ("500 MB", 5 * 10**8), ("1.5g", 15 * 10**8), ("2kb", 2000), ("77", 77)]
)
def test_sizes(text, expected):
    assert parse_size(text) == expected
    with pytest.raises(InputError, match="give a size"):
        parse_size(text + " apples")


@pytest.mark.parametrize("target", ["voices", "voices/s3", "voices/new/deep", "."])
def test_shards_do_not_go_among_what_is_packed(manifest, tmp_path, target):
    before = sorted(tmp_path.rglob("*"))
    source = str(tmp_path if target == "." else manifest)
    with pytest.raises(SystemExit, match="whose recordings are packed: choose a folder elsewhere"):
        main(["shard", source, "--to", str(tmp_path / target)])
    assert sorted(tmp_path.rglob("*")) == before
