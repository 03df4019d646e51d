"""Shards as a corpus: what is checked before training."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from shard_files import make_manifest, packing, write_noise, write_wespeaker

from speakerlab import InputError
from speakerlab.data.corpora import shards as shards_module
from speakerlab.data.corpora.shards import ShardCorpus
from speakerlab.data.shards.heldout import split_heldout, write_heldout
from speakerlab.data.shards.packing import pack


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """`voices`, and `to` with shards of 5 of its 8 speakers and trials over the others."""
    root = tmp_path_factory.mktemp("shards")
    table, held_out = split_heldout(make_manifest(root / "voices", speakers=8, utterances=4), "3", 1)
    pack(table, root / "to", packing())
    write_heldout(held_out, root / "to", "flac", 30, 1, 1)
    return root


def corpus(root, tmp_path, **changes) -> ShardCorpus:
    given = {"trials": None, "trials_root": None, "allow_overlap": False, "shuffle_buffer": 10}
    given["cache_dir"] = str(tmp_path / "cache")
    return ShardCorpus(str(root), **given | changes)


def trials_over(folder: Path, speakers: list[str]) -> Path:
    """A list over the first two files of each of two speakers."""
    names = [f"{speaker}/{number}.wav" for speaker in speakers for number in range(2)]
    lines = [f"1 {names[0]} {names[1]}", f"0 {names[0]} {names[2]}", f"1 {names[2]} {names[3]}"]
    path = folder / "trials.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_with_the_trials_of_packing(made, tmp_path):
    loaded = corpus(made / "to", tmp_path).load()
    assert loaded.utterances == 20 and len(loaded.speakers) == 5 and len(loaded.trials) == 30
    assert all(path.is_file() and path.is_relative_to(made / "to/heldout") for path in loaded.development)
    assert not {path.parent.name for path in loaded.development} & set(loaded.speakers)
    assert loaded.notes == ("shards: 20 utterances of 5 speakers in 3 shards", "30 development trials")


def test_with_a_list(made, tmp_path):
    held_out = sorted(path.name for path in (made / "to/heldout").iterdir() if path.is_dir())
    trials = trials_over(tmp_path, held_out)
    given = {"trials": str(trials), "trials_root": str(made / "voices")}
    loaded = corpus(made / "to", tmp_path, **given).load()
    assert len(loaded.trials) == 3 and loaded.development[0] == made / "voices" / held_out[0] / "0.wav"


def test_training_speakers_are_no_development_speakers(made, tmp_path):
    """By their folders, and where these are elsewhere by a word about their names."""
    trained = corpus(made / "to", tmp_path).load().speakers[:2]
    trials = str(trials_over(tmp_path, trained))
    with pytest.raises(InputError, match="4 of 4 development utterances belong to training speakers"):
        corpus(made / "to", tmp_path, trials=trials, trials_root=str(made / "voices")).load()
    shutil.copytree(made / "voices", tmp_path / "elsewhere")
    forced = {"trials_root": str(made / "voices"), "allow_overlap": True}
    assert corpus(made / "to", tmp_path, trials=trials, **forced).load().notes[-1].endswith("flatters the model")
    notes = corpus(made / "to", tmp_path, trials=trials, trials_root=str(tmp_path / "elsewhere")).load().notes
    assert notes[-1].startswith("warning: 4 of 4 development utterances lie in folders named like training speakers")


@pytest.fixture(scope="module")
def voxceleb(tmp_path_factory) -> Path:
    """`vox1` with audio of three of VoxCeleb1's speakers and two official lists, `to` with shards of the first two."""
    root = tmp_path_factory.mktemp("voxceleb")
    names = [f"{speaker}/video/{i:05d}.wav" for speaker in ("id10001", "id10002", "id10270") for i in range(2)]
    for number, name in enumerate(names):
        write_noise(root / "vox1" / "wav" / name, number)
    table = make_manifest(root / "voices", speakers=2, utterances=4)
    people = pa.array([{"s0": "id10001", "s1": "id10002"}[name] for name in table["speaker"].to_pylist()])
    pack(table.set_column(table.column_names.index("speaker"), "speaker", people), root / "to", packing())
    (root / "vox1" / "trials").mkdir()
    for list_name, people, count in (("veri_test2", names[4:], 37611), ("list_test_hard2", names, 550894)):
        pairs = [(int(a[:7] == b[:7]), a, b) for a in people for b in people]
        pairs[0] = (0, *pairs[0][1:])  # both kinds, even over one speaker
        lines = [f"{label} {a} {b}\n" for label, a, b in pairs]
        text = "".join(lines[i % len(lines)] for i in range(count))
        (root / "vox1" / "trials" / f"{list_name}.txt").write_text(text)
    return root


def test_official_lists_have_names(voxceleb, tmp_path):
    given = {"trials": "vox1_o_cleaned", "trials_root": [str(voxceleb / "vox1"), str(voxceleb / "vox1" / "wav")]}
    loaded = corpus(voxceleb / "to", tmp_path, **given).load()
    assert len(loaded.trials) == 37611 and loaded.trials.source.endswith("vox1/trials/veri_test2.txt")
    assert loaded.development == [voxceleb / "vox1/wav/id10270/video" / f"0000{i}.wav" for i in range(2)]


def test_a_list_over_the_training_speakers_is_refused_unless_forced(voxceleb, tmp_path):
    """Though the shards were packed of files that lie elsewhere."""
    given = {"trials": "vox1_h_cleaned", "trials_root": [str(voxceleb / "vox1"), str(voxceleb / "vox1" / "wav")]}
    with pytest.raises(InputError, match=r"list_test_hard2\.txt: 2 of its speakers are trained on, such as id10001;"):
        corpus(voxceleb / "to", tmp_path, **given).load()
    loaded = corpus(voxceleb / "to", tmp_path, **given, allow_overlap=True).load()
    assert len(loaded.trials) == 550894 and loaded.notes[-1].endswith("the EER flatters the model")
    assert sum("trained on" in note or "warning" in note for note in loaded.notes) == 1


def test_on_a_server(made, tmp_path, server):
    shutil.copytree(made / "to", server.folder / "x")
    trials = {"trials": str(made / "to/heldout/trials.txt")}
    loaded = corpus(f"{server.url}/x", tmp_path, **trials).load()
    assert loaded.utterances == 20 and loaded.train.index.addresses[0].startswith("http://")
    with pytest.raises(InputError, match=r"has no heldout/trials.txt on this machine: .* or give data.trials=LIST"):
        corpus(f"{server.url}/x", tmp_path).load()


def test_wespeakers_folder_and_list(made, tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=3, utterances=4)
    paths = write_wespeaker(tmp_path / "wespeaker", table, items=5)
    (tmp_path / "shard.list").write_text("".join(f"{path}\n" for path in paths))
    given = {"trials": str(made / "to/heldout/trials.txt")}
    for root in (tmp_path / "wespeaker", tmp_path / "shard.list"):
        loaded = corpus(root, tmp_path, **given).load()
        assert loaded.speakers == ["s0", "s1", "s2"] and loaded.utterances == 12
    with pytest.raises(InputError, match="give data.trials=LIST data.trials_root=FOLDER"):
        corpus(tmp_path / "wespeaker", tmp_path).load()


def test_what_is_missing_is_said(made, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="data.root=/nowhere: there is no such folder or list"):
        corpus("/nowhere", tmp_path).load()
    with pytest.raises(InputError, match="trials_root is given without data.trials"):
        corpus(made / "to", tmp_path, trials_root=str(tmp_path)).load()
    with pytest.raises(ValueError, match="shuffle_buffer=0"):
        corpus(made / "to", tmp_path, shuffle_buffer=0)
    copy = shutil.copytree(made / "to", tmp_path / "copy")
    (copy / "shard-000001.tar").unlink()
    with pytest.raises(InputError, match="shard-000001.tar: this shard is missing"):
        corpus(copy, tmp_path).load()
    monkeypatch.setattr(shards_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the library webdataset: pip install 'speakerlab\[shards\]'"):
        corpus(made / "to", tmp_path).load()
