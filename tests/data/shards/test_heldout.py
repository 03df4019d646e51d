"""Speakers kept out, as files and trials."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from shard_files import make_manifest

from speakerlab import InputError
from speakerlab.data.shards.heldout import split_heldout, write_heldout
from speakerlab.data.trials import locate_utterances, read_trials


def test_speakers_by_number_or_by_name(table, tmp_path):
    packed, held_out = split_heldout(table, "3", seed=1)
    ours, theirs = set(packed["speaker"].to_pylist()), set(held_out["speaker"].to_pylist())
    assert len(theirs) == 3 and len(ours) == 5 and not ours & theirs and packed.num_rows + held_out.num_rows == 40
    (tmp_path / "names.txt").write_text("s2\n\ns5\n")
    packed, held_out = split_heldout(table, str(tmp_path / "names.txt"), seed=1)
    assert set(held_out["speaker"].to_pylist()) == {"s2", "s5"} and packed.num_rows == 30


@pytest.mark.parametrize(
    "names, expected", [("s2\nnobody\n", "1 of its speakers .* 'nobody'"), ("s1\n", "names 1 of 8 speakers")]
)
def test_impossible_names(table, tmp_path, names, expected):
    (tmp_path / "names.txt").write_text(names)
    with pytest.raises(InputError, match=expected):
        split_heldout(table, str(tmp_path / "names.txt"), seed=1)
    with pytest.raises(InputError, match="nowhere.txt: give a number of speakers or a file"):
        split_heldout(table, str(tmp_path / "nowhere.txt"), seed=1)


def test_files_and_trials(tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=3, utterances=4)
    seen = []
    assert write_heldout(table, tmp_path, "flac", 20, 1, 2, lambda done, total: seen.append((done, total))) == []
    assert seen[-1] == (12, 12)
    trials = read_trials(tmp_path / "heldout/trials.txt")
    files = locate_utterances(trials, [tmp_path / "heldout"])
    speakers = np.array([Path(name).parts[0] for name in trials.utterances])
    np.testing.assert_array_equal(speakers[trials.enrol] == speakers[trials.test], trials.labels == 1)
    assert len(trials) == 20 and trials.labels.sum() == 10
    waves = {soundfile.read(path, dtype="int16")[0].tobytes(): path.parent.name for path in files}
    sources = {
        soundfile.read(Path(row["root"], row["path"]), dtype="int16")[0].tobytes(): row["speaker"]
        for row in table.to_pylist()
    }
    assert waves.items() <= sources.items()

    # Again, without the sources: nothing is read anew.
    text = (tmp_path / "heldout/trials.txt").read_text()
    for row in table.to_pylist():
        Path(row["root"], row["path"]).unlink()
    assert write_heldout(table, tmp_path, "flac", 20, 1, 2) == []
    assert (tmp_path / "heldout/trials.txt").read_text() == text


def test_unreadable_files_are_in_no_trial(tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=3, utterances=4)
    (tmp_path / "voices/s1/2.wav").write_bytes(b"rubbish")
    ((utterance, path, _),) = write_heldout(table, tmp_path, "copy", 1000, 1, 2)
    assert utterance == "s1/2.wav" and path.endswith("voices/s1/2.wav")
    trials = read_trials(tmp_path / "heldout/trials.txt")
    assert len(trials.utterances) == 11 and len(locate_utterances(trials, [tmp_path / "heldout"])) == 11
    assert len(trials) == (6 + 3 + 6) + 4 * 4  # all pairs of a speaker, and of the two men
