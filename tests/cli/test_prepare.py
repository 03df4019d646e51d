"""The command as it is typed: what it says, what it refuses, what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hosts import serve
from trees import host_voxceleb, voxceleb

from speakerlab.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def vox1(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("vox") / "voxceleb1"
    voxceleb(root, tmp_path_factory.mktemp("cache"), 1)
    return root


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def refused(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["prepare", *arguments])
    message = str(caught.value.code)
    assert message.startswith("error: ") and "\n" not in message
    return message


def test_summary(vox1, tmp_path, capsys):
    for path in sorted(vox1.rglob("*.wav"))[:1]:
        tree = tmp_path / "tree"
        tree.mkdir()
        os.symlink(path.parents[3], tree / "dev")
    os.symlink(vox1 / "test", tree / "test")
    (tree / "stray.wav").write_bytes(b"")
    main(["prepare", "voxceleb1", "--from", str(tree), "--to", str(tmp_path / "to"), "--max-bad-share", "0.1"])
    text = capsys.readouterr().out
    assert "voxceleb1: 28 utterances of 7 speakers, 1." in text and " min\n" in text
    assert "  dev                12 utterances of 3 speakers" in text
    assert "(the whole corpus: 148,642 of 1,211 speakers)" in text
    assert f"rejected: 1 of 29 files (3.45 %), all in {tmp_path}/to/rejected.csv" in text
    assert "       1 outside the layout such as stray.wav: expected [dev|test]/wav/id10001/VIDEO/00001.wav" in text
    assert "not there: vox1_meta.csv, iden_split.txt, veri_test.txt" in text
    assert text.endswith(f"manifest           {tmp_path}/to/manifest.parquet\n")
    assert len(text.splitlines()) <= 24


def test_dry_run_of_a_tree_touches_nothing(vox1, tmp_path, capsys):
    command = ["prepare", "voxceleb1", "--from", str(vox1), "--to", str(tmp_path / "to"), "--format", "flac"]
    main([*command, "--dry-run"])
    text = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert f"found     28 .wav in {vox1}" in text
    assert f"convert   28 files, those that are no 16 kHz mono, to {tmp_path}/to/flac" in text
    assert "decode    28 of 28 files from end to end" in text
    main(command)
    capsys.readouterr()
    before = everything(tmp_path)
    main([*command, "--dry-run"])
    text = capsys.readouterr().out
    assert "convert   0 files" in text and "decode    0 of 28 files" in text
    assert everything(tmp_path) == before


def test_dry_run_of_a_download_asks_nobody(vox1, tmp_path, capsys):
    hosted = host_voxceleb(vox1, tmp_path / "host", 1)
    with serve(hosted.folder) as host:
        sources = hosted.write(tmp_path / "a.yaml", host.url)
        to = tmp_path / "to"
        command = ["prepare", "voxceleb1", "--to", str(to), "--sources", str(sources)]
        main([*command, "--dry-run"])
        text = capsys.readouterr().out
        assert not to.exists() and not host.asked
        total = sum(part["bytes"] for archive in hosted.sources["archives"] for part in archive["parts"])
        assert "download  vox1_meta.csv\n" in text
        assert (
            "download  vox1_dev_wav_partaa, " in text and f"unpack    vox1_dev_wav.zip into {to}/extracted/dev" in text
        )
        assert f"in all    {total / 1e6:.1f} MB to download\n" in text
        main(command)
        assert "28 utterances" in capsys.readouterr().out
        main([*command, "--dry-run"])
        text = capsys.readouterr().out
        assert "unpacked  all 2 archives, before" in text and "\ndownload" not in text


def test_augmentation_folders(tmp_path, capsys):
    for name in ("noise/free-sound/a", "noise/sound-bible/b", "music/fma/c", "speech/librivox/d", "speech/us-gov/e"):
        path = tmp_path / f"data/musan/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(8000)), 16000)
    command = ["prepare", "musan", "--from", str(tmp_path / "data"), "--to", str(tmp_path / "to")]
    main(command)
    text = capsys.readouterr().out
    assert "musan: 5 recordings, 2.5 s" in text
    for key, kind in (("augment.noise_dir", "noise"), ("augment.music_dir", "music"), ("augment.babble_dir", "speech")):
        assert f"{key:18} {tmp_path}/data/musan/{kind}\n" in text
    main([*command, "--format", "flac"])
    assert f"augment.noise_dir  {tmp_path}/to/flac/musan/noise\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["voxcelb1", "--to", "to"],
            "voxcelb1: no such corpus; did you mean voxceleb1? (there are: librispeech, musan",
        ),
        (["musan", "--to", "to", "--from", "nowhere"], "nowhere: no such folder"),
        (["musan", "--to", "to", "--workers", "0"], "--workers 0: must be at least 1"),
        (["musan", "--to", "to", "--workers", "100000"], "--workers 100000: must be at least 1 and at most "),
        (["musan", "--to", "to", "--max-bad-share", "2"], "--max-bad-share=2.0 must lie in 0 to 1"),
        (["musan", "--to", "to", "--only", "x"], "--only x: musan has no such archive; it has musan.tar.gz"),
        (["musan", "--to", "to", "--sources", "none.yaml"], "none.yaml: can't be read"),
        (["musan", "--to", "to", "--remove-extracted"], "--remove-extracted needs --format"),
        (
            ["musan", "--to", "to", "--from", ".", "--format", "wav", "--remove-extracted"],
            "--remove-extracted: for downloads, but --from only reads a tree",
        ),
        (
            ["musan", "--to", "to", "--from", ".", "--url-base", "https://host/x", "--user", "me", "--only", "musan"],
            "--only, --url-base, --user: for downloads, but --from only reads a tree; leave out one or the other",
        ),
        (["musan", "--to", "to", "--from", ".", "--connections", "8"], "--connections: for downloads"),
        (["musan", "--to", "to", "--from", ".", "--remove-parts", "--fetch-lists"], "--remove-parts: for downloads"),
        (
            ["musan", "--to", "to", "--url-base", "foo"],
            "--url-base foo: must begin with http:// or https://",
        ),
        (["musan", "--to", "to", "--url-base", "https://"], "--url-base https://: must begin with"),
        (["musan", "--to", "to", "--url-base", ""], "--url-base : must begin with"),
        (["musan", "--to", "to", "--user", "me"], "--user needs a password: set SPEAKERLAB_PASSWORD"),
    ],
)
def test_refusals(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPEAKERLAB_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    assert message in refused(*arguments)
    assert not list(tmp_path.iterdir())


def test_sources_of_another_corpus(tmp_path):
    message = refused("musan", "--to", str(tmp_path / "to"), "--sources", str(ROOT / "conf/prepare/rirs.yaml"))
    assert "rirs.yaml: is for rirs, not musan" in message


def test_a_password_comes_from_the_environment(vox1, tmp_path, monkeypatch, capsys):
    hosted = host_voxceleb(vox1, tmp_path / "host", 1)
    monkeypatch.setenv("SPEAKERLAB_PASSWORD", "secret")
    with serve(hosted.folder, login="me:secret") as host:
        sources = hosted.write(tmp_path / "a.yaml", host.url)
        main(["prepare", "voxceleb1", "--to", str(tmp_path / "to"), "--sources", str(sources), "--user", "me"])
    assert "28 utterances" in capsys.readouterr().out


def test_help_is_quick():
    """Without torch, numpy or the network."""
    command = [sys.executable, "-X", "importtime", "-m", "speakerlab.cli.main", "prepare", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "speakerlab prepare voxceleb1 --from" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "requests", "av", "soundfile"}
