"""Where training data and cohorts come from, who is left out of them, and who is drawn."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import write_embeddings
from speakerlab.data.manifest import MANIFEST_SCHEMA, write_manifest
from speakerlab.data.utterances import Utterances, utterances_in_files
from speakerlab.inference.material import Source, draw_speakers, draw_utterances, find_material, trial_speakers


def manifest(root, names: list[str], speakers: list[str]) -> pa.Table:
    count = len(names)
    columns = {
        "utterance": names,
        "speaker": speakers,
        "session": [""] * count,
        "root": pa.array([str(root)] * count).dictionary_encode(),
        "path": names,
        "first_sample": [0] * count,
        "samples": [8000] * count,
        "sample_rate": [16000] * count,
        "split": [""] * count,
        "gender": [""] * count,
    }
    return pa.table(columns, schema=MANIFEST_SCHEMA)


def people(root, speakers: int = 6, utterances: int = 5) -> pa.Table:
    pairs = [(f"s{i}", f"s{i}/a/{j}.wav") for i in range(speakers) for j in range(utterances)]
    return manifest(root, [name for _, name in pairs], [speaker for speaker, _ in pairs])


def recipe(*changes: str):
    return compose("evaluate", ["ckpt=x", *(f"scoring.{change}" for change in changes)])[0].scoring


def of_trials(names: list[str], files: list | None = None) -> Utterances:
    return utterances_in_files(names, [f"/trials/{name}" for name in names] if files is None else files)


STRANGE = of_trials(["x/1.wav", "y/1.wav"])
HERE = Path("here.ckpt")  # a model, whose own data nobody asks for


def find(scoring, tmp_path, utterances=STRANGE, checkpoint=HERE):
    return find_material(scoring, checkpoint, utterances, str(tmp_path / "cache"))


def speakers(known) -> list[str]:
    return sorted(set(known.utterances.speakers))


def test_nothing_is_looked_for_where_nothing_is_needed(tmp_path):
    found = find(recipe(), tmp_path)
    assert found.train is None and found.cohort is None


def test_a_manifest_or_the_folder_of_one(tmp_path):
    write_manifest(people("/data"), tmp_path / "prepared" / "manifest.parquet")
    for path in (tmp_path / "prepared", tmp_path / "prepared" / "manifest.parquet"):
        found = find(recipe("norm=s", f"cohort={path}"), tmp_path)
        assert len(found.cohort.utterances) == 30 and found.train is None and found.within_train is None


def test_a_tree_of_speakers(tmp_path):
    for name in ("a/1.wav", "a/2.wav", "b/x/1.wav"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "tree" / name, np.full(9000, 0.1), 16000)
    found = find(recipe("backend=plda", f"train={tmp_path / 'tree'}"), tmp_path)
    assert found.train.utterances.speakers == ["a", "a", "b"] and found.cohort is None
    assert found.train.classes.tolist() == [0, 0, 1] and found.train.saved is None


def test_a_missing_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"scoring\.cohort=/nowhere: no such manifest or folder"):
        find(recipe("norm=s", "cohort=/nowhere"), tmp_path)


def test_training_data_and_cohort_of_one_source_are_embedded_once(tmp_path):
    write_manifest(people("/data"), tmp_path / "manifest.parquet")
    both = [f"{key}={tmp_path}" for key in ("train", "cohort")]
    found = find(recipe("norm=s", "subtract_mean=true", "cohort_size=4", *both), tmp_path)
    assert len(found.train.utterances) == 30 and len(found.cohort.utterances) == 20
    assert [found.train.utterances.names[row] for row in found.within_train] == found.cohort.utterances.names
    write_manifest(people("/data"), tmp_path / "other.parquet")
    both[1] = f"cohort={tmp_path / 'other.parquet'}"
    assert find(recipe("norm=s", "subtract_mean=true", *both), tmp_path).within_train is None


def test_speakers_of_the_trials_are_left_out(tmp_path, caplog):
    """By the folder that their files lie in, through a link too; another folder of the same name is another speaker."""
    root = tmp_path / "real"
    (root / "s1" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    table = people(root)
    files = [tmp_path / "link" / "s1" / "b" / "9.wav", tmp_path / "other" / "s2" / "a" / "0.wav"]
    assert trial_speakers(Source("x", table), of_trials(["x", "y"], files)) == {"s1"}
    write_manifest(table, root / "manifest.parquet")
    with caplog.at_level("INFO", "speakerlab"):
        found = find(recipe("norm=s", f"cohort={root}"), tmp_path, of_trials(["x", "y"], files))
    assert speakers(found.cohort) == ["s0", "s2", "s3", "s4", "s5"]
    assert caplog.messages == [f"scoring.cohort={root}: 1 of 6 speakers are in the trials and left out, such as s1"]


def test_without_audio_speakers_of_the_trials_are_known_by_names(tmp_path):
    tested = utterances_in_files(["s1/a/0.wav", "s4/a/3.wav", "s1/b/0.wav"], None)
    assert trial_speakers(Source("x", people(tmp_path)), tested) == {"s1", "s4"}


def test_voxceleb1s_names_are_known_wherever_they_lie():
    names = ["id10001/v/1.wav", "id10002/v/1.wav", "id10003/v/1.wav"]
    table = manifest("/data/wav", names, ["vox1/id10001", "vox1/id10002", "vox1/id10003"])
    assert trial_speakers(Source("x", table), of_trials(["wav/id10002/z/9.wav", "x/1.wav"])) == {"vox1/id10002"}


def test_a_cohort_of_the_trials_speakers_is_refused(tmp_path):
    write_manifest(people(tmp_path, 3), tmp_path / "manifest.parquet")
    files = [tmp_path / "s0" / "a" / "0.wav", tmp_path / "s1" / "a" / "0.wav"]
    with pytest.raises(InputError, match="2 of its 3 speakers are in the trials; give other speakers"):
        find(recipe("norm=s", f"cohort={tmp_path}"), tmp_path, of_trials(["x", "y"], files))


def test_utterances_are_drawn_by_seed():
    names = [f"s{i}" for i in range(4) for _ in range(9)]
    found = draw_utterances(names, 3, seed=1)
    assert [[names[row] for row in found].count(f"s{i}") for i in range(4)] == [3] * 4
    assert found.tolist() == sorted(found) == draw_utterances(names, 3, seed=1).tolist()
    assert found.tolist() != draw_utterances(names, 3, seed=2).tolist()
    assert draw_utterances(names, None, 0).tolist() == draw_utterances(names, 9, 0).tolist() == list(range(36))
    counts = np.bincount(np.concatenate([draw_utterances(names, 3, seed) for seed in range(300)]))
    assert counts.min() > 70 and counts.max() < 130  # of 100 expected, whatever the place


def test_speakers_are_drawn_by_seed():
    names = [f"s{i}" for i in range(10) for _ in range(2)]
    found = draw_speakers(names, 4, 0)
    assert len(found) == 8 and len({names[row] for row in found}) == 4 and found.tolist() == sorted(found)
    assert found.tolist() != draw_speakers(names, 4, 1).tolist()
    assert len(draw_speakers(names, None, 0)) == len(draw_speakers(names, 50, 0)) == 20


# --- Beside saved embeddings


def save(path, names, speakers) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((len(names), 4)).astype(np.float32)
    write_embeddings(path, checked(names, rows, "test", speakers))
    return rows


def test_embeddings_of_speakers_beside_saved_ones(tmp_path):
    names = [f"c{i}" for i in range(12)]
    rows = save(tmp_path / "cohort.npz", names, [f"s{i % 4}" for i in range(12)])
    saved = utterances_in_files(["x/1.wav", "c5"], None)  # c5 is of s1
    found = find(recipe("norm=s", f"cohort={tmp_path / 'cohort.npz'}"), tmp_path, saved, None).cohort
    kept = [i for i in range(12) if i % 4 != 1]
    assert found.utterances.names == [f"c{i}" for i in kept] and found.classes.tolist() == [0, 1, 2] * 3
    np.testing.assert_array_equal(found.saved(found.utterances), rows[kept])


def test_saved_embeddings_know_no_training_data(tmp_path):
    saved = utterances_in_files(["x/1.wav"], None)
    with pytest.raises(InputError, match=r"scoring\.cohort must be given: saved embeddings know no training data"):
        find(recipe("norm=s"), tmp_path, saved, None)
    save(tmp_path / "nameless.npz", ["a", "b"], None)
    with pytest.raises(InputError, match=r"scoring\.train=.*nameless\.npz: says no speakers"):
        find(recipe("backend=plda", f"train={tmp_path / 'nameless.npz'}"), tmp_path, saved, None)


# --- What the run was trained on


@pytest.fixture
def checkpoint(folders, tmp_path):
    """Of a run on six speakers, two of whose voices speed perturbation has made more of."""
    cfg, _ = compose("train", [*folders.overrides(), f"cache_dir={tmp_path / 'cache'}"])
    names = [f"s{i}" for i in range(6)]
    contents = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "speakers": [*names, *(f"{name} at 0.9" for name in names)],
        "voices": 2,
        "state_dict": {},
    }
    torch.save(contents, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def changed(checkpoint, **changes):
    contents = torch.load(checkpoint, weights_only=True)
    torch.save(contents | changes, checkpoint)
    return contents["config"]


def test_the_runs_own_training_data(checkpoint, folders, tmp_path):
    found = find(recipe("norm=s", "utterances_per_speaker=2"), tmp_path, checkpoint=checkpoint)
    assert len(found.cohort.utterances) == 12 and speakers(found.cohort) == [f"s{i}" for i in range(6)]
    assert all(file.startswith(str(folders.train)) for file in found.cohort.utterances.files)


def test_speakers_that_came_later_are_not_of_the_run(checkpoint, tmp_path, caplog):
    changed(checkpoint, speakers=["s0", "s2", "s4", "gone"], voices=1)
    with caplog.at_level("INFO", "speakerlab"):
        found = find(recipe("norm=s"), tmp_path, checkpoint=checkpoint)
    assert speakers(found.cohort) == ["s0", "s2", "s4"]
    assert "1 of 4 speakers that the run was trained on are gone from its data" in caplog.text


@pytest.mark.parametrize("target", ["speakerlab.data.corpora.shards.ShardCorpus", "os.system", None])
def test_only_corpora_of_files_are_looked_for(checkpoint, tmp_path, target):
    config = changed(checkpoint)
    config["data"] = {"_target_": target} if target else None
    changed(checkpoint, config=config)
    with pytest.raises(InputError, match=r"training data has no list of utterances; add scoring\.cohort=MANIFEST"):
        find(recipe("norm=s"), tmp_path, checkpoint=checkpoint)


def test_data_that_is_gone_is_told(checkpoint, tmp_path):
    config = changed(checkpoint)
    config["data"]["root"] = "/nowhere"
    changed(checkpoint, config=config)
    with pytest.raises(InputError, match=r"can't be found \(/nowhere: no such folder.*; add scoring\.cohort="):
        find(recipe("norm=s"), tmp_path, checkpoint=checkpoint)
