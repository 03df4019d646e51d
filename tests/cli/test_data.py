"""The commands as typed, on real folders."""

import json
import re
import shutil

import numpy as np
import pyarrow.csv
import pytest
import soundfile

from speakerlab.cli.main import main
from speakerlab.data.manifest import write_manifest
from speakerlab.data.scan import scan_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands write to outputs/ where they are run, and manifests to a cache of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEAKERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def refusal(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["data", *arguments])
    message = str(caught.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


def facts(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    main(["data", "summary", *map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def durations(root) -> list[float]:
    return [soundfile.info(path).duration for path in root.rglob("*.flac")]


# --- summary


def test_a_folder(capsys, folders, tmp_path):
    found = facts(capsys, folders.train)
    assert (found["name"], found["speakers"], found["utterances"]) == ("train", 6, 24)
    assert found["hours"] == pytest.approx(sum(durations(folders.train)) / 3600)
    assert found["groups"]["format"]["flac"]["utterances"] == 24
    assert found["development"] is None
    assert not (tmp_path / "outputs").exists()


def test_several_folders_are_joined(capsys, folders):
    found = facts(capsys, folders.train, folders.development)
    assert (found["speakers"], found["utterances"]) == (9, 33)
    assert {name: group["utterances"] for name, group in found["groups"]["folder"].items()} == {
        str(folders.train): 24,
        str(folders.development): 9,
    }


def test_files_left_out_are_counted_however_many(capsys, folders, tmp_path):
    shutil.copytree(folders.train, tmp_path / "voices")
    for speaker in ("s0", "s1", "s2"):
        for j in range(4):
            (tmp_path / "voices" / speaker / "a" / f"{j}.flac").write_bytes(b"")
    soundfile.write(tmp_path / "voices" / "s3" / "short.wav", np.full(100, 0.1), 16000)
    found = facts(capsys, tmp_path / "voices")
    assert found["utterances"] == 12
    assert {reason: files["files"] for reason, files in found["left_out"].items()} == {"empty": 12, "too short": 1}


@pytest.mark.parametrize("name", ["quarantine.csv", "rejected.csv"])
def test_a_manifest_and_the_list_beside_it(capsys, folders, tmp_path, name):
    (folders.train / "s0" / "a" / "bad.wav").write_bytes(b"no audio")
    try:
        scan = scan_folder(folders.train, tmp_path, min_seconds=0.5, stereo="mix", max_bad_share=1.0)
    finally:
        (folders.train / "s0" / "a" / "bad.wav").unlink()
    manifest = scan.quarantine_files[0].with_name("manifest.parquet")
    scan.quarantine_files[0].rename(manifest.with_name(name))
    found = facts(capsys, manifest)
    assert found["name"] == manifest.parent.name
    assert found["utterances"] == 24
    assert found["left_out"]["broken"]["files"] == 1
    assert "s0/a/bad.wav" in found["left_out"]["broken"]["example"]


def test_a_prepared_folder_is_its_manifest(capsys, folders, tmp_path):
    """And not the speakers `flac` and `trials`."""
    (tmp_path / "vox" / "flac").mkdir(parents=True)
    shutil.copytree(folders.train, tmp_path / "vox" / "flac" / "wav")
    scan = scan_folder(folders.train, tmp_path, min_seconds=0.5, stereo="mix", max_bad_share=1.0)
    (tmp_path / "vox" / ".prepare").mkdir()
    assert "vox: is not prepared to its end" in refusal("summary", str(tmp_path / "vox"))
    write_manifest(scan.manifest, tmp_path / "vox" / "manifest.parquet")
    found = facts(capsys, tmp_path / "vox")
    assert (found["name"], found["speakers"], found["utterances"]) == ("vox", 6, 24)


@pytest.fixture
def shards(folders, tmp_path, capsys):
    """A folder of shards with the training utterances of `folders`."""
    main(["shard", str(folders.train), "--to", str(tmp_path / "packed"), "--shard-items", "9", "--workers", "1"])
    assert "train: 24 utterances of 6 speakers" in capsys.readouterr().out, "of a plain tree, what was found is said"
    return tmp_path / "packed"


def test_shards(capsys, folders, shards, tmp_path):
    """Given as a path, or as training takes them; without their index too."""
    trials = [f"data.trials={folders.trials}", f"data.trials_root={folders.development}"]
    configured = facts(capsys, "data=shards", f"data.root={shards}", *trials)
    by_path = facts(capsys, shards)
    (shards / "shards.json").unlink()
    for found in (configured, by_path, facts(capsys, shards)):
        assert (found["name"], found["speakers"], found["utterances"]) == ("packed", 6, 24)
        assert found["hours"] == pytest.approx(sum(durations(folders.train)) / 3600)
        assert found["groups"]["format"]["flac"]["utterances"] == 24
    assert configured["development"]["utterances"] == 9 and by_path["development"] is None
    assert "shards: 24 utterances of 6 speakers in 3 shards" in configured["notes"]


def test_a_foreign_list_beside_a_manifest_is_none(capsys, folders, tmp_path):
    scan = scan_folder(folders.train, tmp_path, min_seconds=0.5, stereo="mix", max_bad_share=1.0)
    manifest = scan.quarantine_files[0].with_name("manifest.parquet")
    pyarrow.csv.write_csv(pyarrow.table({"name": ["x"]}), scan.quarantine_files[0])
    assert facts(capsys, manifest)["left_out"] == {}


def test_a_configured_corpus_has_two_sides(capsys, folders):
    found = facts(capsys, *folders.overrides())
    assert found["utterances"] == 24 and found["name"] == "train"
    lines = folders.trials.read_text().splitlines()
    targets = sum(line.startswith("1") for line in lines)
    other = found["development"]
    assert (other["targets"], other["nontargets"]) == (targets, len(lines) - targets)
    assert other["utterances"] == 9
    assert other["hours"] == pytest.approx(sum(durations(folders.development)) / 3600)
    assert any("24 utterances" in note for note in found["notes"])


def test_tables_and_a_page(capsys, folders, tmp_path):
    main(["data", "summary", *folders.overrides()])
    out = capsys.readouterr().out
    assert "24" in out and "16 kHz" in out and "non-targets" in out
    page = tmp_path / "outputs" / "data" / "train" / "report.html"
    assert page.is_file() and "outputs/data/train/report.html" in out
    assert (page.parent / "plots" / "summary.png").is_file()


def test_the_page_goes_where_it_is_sent(folders, tmp_path):
    main(["data", "summary", "--to", str(tmp_path / "there"), str(folders.train)])
    assert (tmp_path / "there" / "report.html").is_file() and not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["data=mni"], ["data=mni", "did you mean mini?"]),
        (["daat=mini"], ["'daat'", "did you mean data?"]),
        (["data=folder", "data.root=/r", "data.min_second=1"], ["data.min_second", "did you mean data.min_seconds?"]),
        (["data=folder"], ["data.root must be given"]),
        (["data=mini", "/voices"], ["/voices", "data=mini", "data=folder data.root=/voices"]),
        (["/nowhere/at/all"], ["/nowhere/at/all: no such manifest or folder"]),
        (["nowhere.parquet"], ["nowhere.parquet: no such manifest"]),
    ],
)
def test_mistakes_in_a_summary(arguments, expected):
    assert all(part in refusal("summary", *arguments) for part in expected)


# --- listen


def test_listening(capsys, folders, tiny, tmp_path):
    main(["data", "listen", *folders.overrides(), "--count", "3", *tiny, "augment=specaugment"])
    folder = tmp_path / "outputs" / "data" / "train_specaugment"
    assert str(folder.relative_to(tmp_path)) in capsys.readouterr().out
    names = {f"{number:02d}{end}" for number in (1, 2, 3) for end in ("_before.wav", "_after.wav", ".png")}
    assert {path.name for path in folder.iterdir()} == names | {"report.html"}
    assert soundfile.info(folder / "01_after.wav").frames == 8000  # crops of half a second
    text = (folder / "report.html").read_text()
    assert "specaugment" in text and "of the values changed" in text


def test_listening_to_shards(capsys, folders, shards, tiny, tmp_path):
    trials = [f"data.trials={folders.trials}", f"data.trials_root={folders.development}"]
    given = ["data=shards", f"data.root={shards}", *trials, *tiny, "augment=specaugment", "--count", "5"]
    main(["data", "listen", *given])
    folder = tmp_path / "outputs" / "data" / "packed_specaugment"
    text = (folder / "report.html").read_text()
    heard = {match for match in re.findall(r"s\d/\w/\d\.flac", text)}
    assert len(heard) == 5 and all((folders.train / name).is_file() for name in heard)
    assert soundfile.info(folder / "05_after.wav").frames == 8000
    main(["data", "listen", *given, "--count", "1", "--each", "--to", str(tmp_path / "each")])
    assert (tmp_path / "each" / "01_before.wav").read_bytes() == (folder / "01_before.wav").read_bytes()


def test_another_seed_or_epoch_gives_other_items(folders, tiny, tmp_path):
    sounds = []
    for number, more in enumerate((["--epoch", "0"], ["--epoch", "1"], ["seed=9"], [])):
        main(
            ["data", "listen", *folders.overrides(), *tiny, *more, "--count", "1", "--to", str(tmp_path / str(number))]
        )
        sounds.append((tmp_path / str(number) / "01_before.wav").read_bytes())
    assert sounds[0] == sounds[3]
    assert len(set(sounds)) == 3


def test_each_augmentation_alone(folders, tiny, tmp_path):
    noises = [f"augment.{kind}_dir={folders.development}" for kind in ("noise", "music")]
    noises = ["augment=noise", *noises, "augment.waveform.reverb=null"]
    arguments = [*folders.overrides(), *tiny, *noises, "--each", "--count", "2"]
    main(["data", "listen", *arguments, "--to", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.html").read_text()
    headings = ["noise", "music", "specaugment"]
    places = [text.index(f"{number}. {name}: speaker") for number, name in enumerate([*headings, *headings], start=1)]
    assert places == sorted(places)
    assert (tmp_path / "out" / "06_after.wav").is_file()


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["augment=nois"], ["augment=nois", "did you mean noise?"]),
        (["loader.crop_second=3"], ["loader.crop_second", "did you mean loader.crop_seconds?"]),
        (["loader.crop_seconds=0.01"], ["loader.crop_seconds=0.01"]),
        (["/voices"], ["/voices", "data.root=/voices"]),
        (["--count", "0"], ["--count 0"]),
        (["--epoch", "-1"], ["--epoch -1"]),
    ],
)
def test_mistakes_in_listening(arguments, expected):
    assert all(part in refusal("listen", *arguments) for part in expected)


def test_nothing_to_hear_alone(folders, tiny):
    assert "--each" in refusal("listen", *folders.overrides(), *tiny, "augment=none", "--each")


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", "listen", "--cuont", "3", "augment=noise"])
    assert caught.value.code == 2 and "--cuont" in capsys.readouterr().err
