"""Training speakers and development speakers must be different people."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data import corpus
from speakerlab.data.corpus import check_disjoint, hold_out_speakers, select_rows, speaker_folders
from speakerlab.data.manifest import as_manifest


def manifest(root, paths: list[str]) -> pa.Table:
    columns = {
        "utterance": paths,
        "speaker": [path.split("/")[0] for path in paths],
        "session": [""] * len(paths),
        "root": [str(root)] * len(paths),
        "path": paths,
        "first_sample": [0] * len(paths),
        "samples": [16000] * len(paths),
        "sample_rate": [16000] * len(paths),
        "split": [""] * len(paths),
        "gender": [""] * len(paths),
    }
    return as_manifest(pa.table(columns), "test")


PATHS = ["amy/x/1.wav", "amy/y/z/2.wav", "bob/1.wav"]


def test_other_folders_are_fine(tmp_path):
    train = manifest(tmp_path / "train", PATHS)
    check_disjoint(train, [tmp_path / "dev" / "amy" / "x" / "1.wav", tmp_path / "train" / "cat" / "1.wav"])
    check_disjoint(train, [tmp_path / "train" / "amy2" / "1.wav"])  # a name that merely begins alike
    check_disjoint(train, [])


@pytest.mark.parametrize("path", ["amy/x/1.wav", "amy/new/9.wav", "amy/y/other/2.wav", "bob/deep/down/1.wav"])
def test_any_file_of_a_training_speaker_is_refused(tmp_path, path):
    files = [tmp_path / "dev" / "cat" / "1.wav", tmp_path / "train" / path]
    with pytest.raises(InputError, match=f"1 of 2 development utterances belong .* example {files[1]}"):
        check_disjoint(manifest(tmp_path / "train", PATHS), files)


def test_a_link_hides_nothing(tmp_path):
    (tmp_path / "train" / "amy" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "train")
    (tmp_path / "linked_speaker").symlink_to(tmp_path / "train" / "amy")
    train = manifest(tmp_path / "train", PATHS)
    for folder in ("link/amy", "linked_speaker", "train/../train/amy"):
        with pytest.raises(InputError, match="1 of 1 development utterances"):
            check_disjoint(train, [tmp_path / folder / "x" / "1.wav"])
    with pytest.raises(InputError, match="1 of 1 development utterances"):
        check_disjoint(manifest(tmp_path / "link", PATHS), [tmp_path / "train" / "amy" / "x" / "1.wav"])


def test_a_linked_file_hides_nothing_either(tmp_path):
    (tmp_path / "train" / "amy" / "x").mkdir(parents=True)
    (tmp_path / "train" / "amy" / "x" / "1.wav").touch()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "1.wav").symlink_to(tmp_path / "train" / "amy" / "x" / "1.wav")
    with pytest.raises(InputError, match="1 of 1 development utterances"):
        check_disjoint(manifest(tmp_path / "train", PATHS), [tmp_path / "dev" / "1.wav"])


def test_speaker_folders_of_several_roots(tmp_path, monkeypatch):
    """Against a loop over paths, in pieces and for links."""
    monkeypatch.setattr(corpus, "BATCH_ROWS", 2)
    (tmp_path / "b" / "real").mkdir(parents=True)
    (tmp_path / "b" / "amy").symlink_to("real")
    (tmp_path / "c").symlink_to("a")
    parts = [manifest(tmp_path / name, [f"{name}{path}" for path in PATHS]) for name in "abca"]
    extra = manifest(tmp_path / "b", ["amy/1.wav", "1.wav"])
    table = pa.concat_tables([*parts, extra]).unify_dictionaries()
    rows = zip(table["root"].to_pylist(), table["path"].to_pylist(), strict=True)
    assert speaker_folders(table) == {str((Path(root) / path.split("/")[0]).resolve()) for root, path in rows}
    assert str(tmp_path / "b" / "real") in speaker_folders(table)


def test_the_folder_with_the_speakers_name_is_the_speakers(tmp_path):
    """In a prepared corpus it may lie deeper, and all speakers below one folder."""
    paths = ["wav/amy/x/1.wav", "wav/amy/amy/2.wav", "wav/sub/bob/1.wav", "eve/1.wav", "wav/other/1.wav"]
    table = manifest(tmp_path, paths)
    speakers = ["amy", "one/amy", "joined/bob", "eve", "dan"]
    table = table.set_column(1, "speaker", pa.array(speakers))
    expected = {"wav/amy", "wav/sub/bob", "eve", "wav"}
    assert speaker_folders(table) == {str(tmp_path / name) for name in expected}
    train = table.slice(0, 4)
    check_disjoint(train, [tmp_path / "wav" / "dan" / "1.wav", tmp_path / "wav" / "sub" / "1.wav"])
    for path in ("wav/amy/9.wav", "wav/sub/bob/y/1.wav"):
        with pytest.raises(InputError, match="1 of 1 development utterances"):
            check_disjoint(train, [tmp_path / path])
    (tmp_path / "real" / "amy").mkdir(parents=True)
    (tmp_path / "wav").symlink_to("real")
    with pytest.raises(InputError, match="1 of 1 development utterances"):
        check_disjoint(train, [tmp_path / "real" / "amy" / "9.wav"])


@pytest.mark.parametrize("most_runs", [0, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_selecting_rows_as_views_or_copies(tmp_path, monkeypatch, most_runs, seed):
    monkeypatch.setattr(corpus, "MOST_RUNS", most_runs)
    table = manifest(tmp_path, [f"s{i}/1.wav" for i in range(50)])
    wanted = np.random.default_rng(seed).random(50) < (0.0, 0.1, 0.5, 0.9, 1.0)[seed]
    expected = [f"s{i}/1.wav" for i in range(50) if wanted[i]]
    selected = select_rows(table, wanted)
    assert selected["path"].to_pylist() == expected and selected.schema == table.schema
    if most_runs and expected:
        places = {chunk.buffers()[1].address for chunk in selected["samples"].chunks}
        assert places == {table["samples"].chunk(0).buffers()[1].address}, "rows were copied"


def test_holding_out_speakers(tmp_path):
    table = manifest(tmp_path, [f"s{speaker}/{i}.wav" for i in range(3) for speaker in range(10)])
    train, held_out = hold_out_speakers(table, count=3, seed=0)
    ours, theirs = set(train["speaker"].to_pylist()), set(held_out["speaker"].to_pylist())
    assert len(theirs) == 3 and len(ours) == 7 and not ours & theirs
    assert len(train) == 21 and len(held_out) == 9
    assert sorted(train["utterance"].to_pylist() + held_out["utterance"].to_pylist()) == sorted(
        table["utterance"].to_pylist()
    )


def test_the_seed_draws_them_whatever_the_order_of_rows(tmp_path):
    table = manifest(tmp_path, [f"s{speaker}/{i}.wav" for i in range(2) for speaker in range(20)])

    def drawn(rows, seed):
        return frozenset(hold_out_speakers(rows, 4, seed)[1]["speaker"].to_pylist())

    assert drawn(table, 1) == drawn(table.take(list(range(39, -1, -1))), 1)
    assert len({drawn(table, seed) for seed in range(10)}) > 5


@pytest.mark.parametrize("count", [-1, 0, 1, 4, 5, 6])
def test_two_speakers_must_stay_on_either_side(tmp_path, count):
    table = manifest(tmp_path, [f"s{speaker}/1.wav" for speaker in range(5)])
    with pytest.raises(InputError, match=rf"heldout_speakers={count} must leave at least 2 of 5"):
        hold_out_speakers(table, count, seed=0)
    assert len(hold_out_speakers(table, 3, seed=0)[1]) == 3
