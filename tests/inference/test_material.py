"""Where training data and cohorts come from, who is left out of them, and who is drawn."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.manifest import MANIFEST_SCHEMA, read_manifest, speakers_of, write_manifest
from speakerlab.data.trials import Trials
from speakerlab.inference.material import draw_speakers, draw_utterances, find_material, trial_speakers


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


def trials_of(names: list[str]) -> Trials:
    rows = np.arange(len(names) - 1, dtype=np.int32)
    return Trials(np.ones(len(rows), np.int8), rows, rows + 1, names, rows + 1, "list")


def recipe(*changes: str):
    return compose("evaluate", [f"scoring.{change}" for change in changes])[0].scoring


STRANGE = trials_of(["x/1.wav", "y/1.wav"])


def find(scoring, tmp_path, trials=STRANGE, files=None, checkpoint=None):
    files = [tmp_path / "trials" / name for name in trials.utterances] if files is None else files
    return find_material(scoring, checkpoint, trials, files, str(tmp_path / "cache"))


def test_nothing_is_looked_for_where_nothing_is_needed(tmp_path):
    found = find(recipe(), tmp_path)
    assert found.train is None and found.cohort is None


def test_a_manifest_or_the_folder_of_one(tmp_path):
    write_manifest(people("/data"), tmp_path / "prepared" / "manifest.parquet")
    for path in (tmp_path / "prepared", tmp_path / "prepared" / "manifest.parquet"):
        found = find(recipe("norm=s", f"cohort={path}"), tmp_path)
        assert found.cohort.num_rows == 30 and found.train is None and found.within_train is None


def test_a_tree_of_speakers(tmp_path):
    for name in ("a/1.wav", "a/2.wav", "b/x/1.wav"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "tree" / name, np.full(9000, 0.1), 16000)
    found = find(recipe("backend=plda", f"train={tmp_path / 'tree'}"), tmp_path)
    assert found.train["speaker"].to_pylist() == ["a", "a", "b"] and found.cohort is None


def test_a_missing_one_is_named(tmp_path):
    with pytest.raises(InputError, match=r"scoring\.cohort=/nowhere: no such manifest or folder"):
        find(recipe("norm=s", "cohort=/nowhere"), tmp_path)


def test_training_data_and_cohort_of_one_source_are_embedded_once(tmp_path):
    write_manifest(people("/data"), tmp_path / "manifest.parquet")
    both = [f"{key}={tmp_path}" for key in ("train", "cohort")]
    found = find(recipe("norm=s", "subtract_mean=true", "cohort_size=4", *both), tmp_path)
    assert found.train.num_rows == 30 and found.cohort.num_rows == 20
    assert found.train.take(pa.array(found.within_train)).equals(found.cohort)
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
    assert trial_speakers(table, STRANGE, files) == {"s1"}
    write_manifest(table, root / "manifest.parquet")
    with caplog.at_level("INFO", "speakerlab"):
        found = find(recipe("norm=s", f"cohort={root}"), tmp_path, files=files)
    assert speakers_of(found.cohort) == ["s0", "s2", "s3", "s4", "s5"]
    assert caplog.messages == [f"scoring.cohort={root}: 1 of 6 speakers are in the trials and left out, such as s1"]


def test_voxceleb1s_names_are_known_wherever_they_lie(tmp_path):
    names = ["id10001/v/1.wav", "id10002/v/1.wav", "id10003/v/1.wav"]
    table = manifest("/data/wav", names, ["vox1/id10001", "vox1/id10002", "vox1/id10003"])
    trials = trials_of(["wav/id10002/z/9.wav", "x/1.wav"])
    assert trial_speakers(table, trials, [tmp_path / name for name in trials.utterances]) == {"vox1/id10002"}


def test_a_cohort_of_the_trials_speakers_is_refused(tmp_path):
    write_manifest(people(tmp_path, 3), tmp_path / "manifest.parquet")
    files = [tmp_path / "s0" / "a" / "0.wav", tmp_path / "s1" / "a" / "0.wav"]
    with pytest.raises(InputError, match="2 of its 3 speakers are in the trials; give other speakers"):
        find(recipe("norm=s", f"cohort={tmp_path}"), tmp_path, files=files)


def test_utterances_are_drawn_by_seed():
    table = people("/data", 4, 9)
    found = draw_utterances(table, 3, seed=1)
    assert [found["speaker"].to_pylist().count(f"s{i}") for i in range(4)] == [3] * 4
    assert found.equals(draw_utterances(table, 3, seed=1)) and not found.equals(draw_utterances(table, 3, seed=2))
    assert draw_utterances(table, None, 0) is table and draw_utterances(table, 9, 0).equals(table)
    counts = {name: 0 for name in table["utterance"].to_pylist()}
    for seed in range(300):
        for name in draw_utterances(table, 3, seed)["utterance"].to_pylist():
            counts[name] += 1
    assert min(counts.values()) > 70 and max(counts.values()) < 130  # of 100 expected, whatever the place


def test_speakers_are_drawn_by_seed():
    table = people("/data", 10, 2)
    rows = draw_speakers(table, 4, 0)
    assert rows.sum() == 8 and (rows[::2] == rows[1::2]).all()
    assert not np.array_equal(rows, draw_speakers(table, 4, 1)) and draw_speakers(table, None, 0).all()
    assert draw_speakers(table, 50, 0).all()


# --- What the run was trained on


@pytest.fixture
def checkpoint(folders, tmp_path):
    """Of a run on six speakers, two of whose voices speed perturbation has made more of."""
    cfg, _ = compose("train", [*folders.overrides(), f"cache_dir={tmp_path / 'cache'}"])
    from omegaconf import OmegaConf

    speakers = [f"s{i}" for i in range(6)]
    contents = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "speakers": [*speakers, *(f"{name} at 0.9" for name in speakers)],
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
    assert found.cohort.num_rows == 12 and speakers_of(found.cohort) == [f"s{i}" for i in range(6)]
    assert set(found.cohort["root"].to_pylist()) == {str(folders.train)}


def test_speakers_that_came_later_are_not_of_the_run(checkpoint, tmp_path, caplog):
    changed(checkpoint, speakers=["s0", "s2", "s4", "gone"], voices=1)
    with caplog.at_level("INFO", "speakerlab"):
        found = find(recipe("norm=s"), tmp_path, checkpoint=checkpoint)
    assert speakers_of(found.cohort) == ["s0", "s2", "s4"]
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


def test_the_manifest_is_as_it_was_written(tmp_path):
    """What the other tests stand on."""
    write_manifest(people("/data"), tmp_path / "manifest.parquet")
    assert read_manifest(tmp_path / "manifest.parquet")["utterance"].to_pylist()[:2] == ["s0/a/0.wav", "s0/a/1.wav"]
