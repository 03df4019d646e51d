"""Training speakers and development speakers must be different people."""

import pyarrow as pa
import pytest

from speakerlab import InputError
from speakerlab.data.corpus import check_disjoint, hold_out_speakers
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
