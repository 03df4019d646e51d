from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data.audio import read_audio
from speakerlab.data.development import write_development_trials
from speakerlab.data.manifest import MANIFEST_SCHEMA, write_manifest
from speakerlab.data.trials import Trials
from speakerlab.inference.export import specimens
from speakerlab.inference.export.specimens import find_specimens


def write_tones(folder: Path, count: int, seconds: float = 0.5) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.wav" for number in range(count)]
    for number, file in enumerate(files):
        time = np.arange(round(seconds * 16000)) / 16000
        soundfile.write(file, 0.1 * np.sin(2 * np.pi * (100 + number) * time), 16000)
    return files


def write_run(run: Path, files: list[Path], pairs: list[tuple[int, int, int]], with_audio: bool = True) -> Path:
    """A run judged by trials `(label, enrol, test)` of these files: its checkpoint, which is not there."""
    order = list(dict.fromkeys(place for _, *pair in pairs for place in pair))
    labels, enrol, test = (np.array(column) for column in zip(*pairs, strict=True))
    enrol, test = ([order.index(place) for place in side] for side in (enrol, test))
    names = [f"s/{files[place].stem}" for place in order]
    trials = Trials(labels.astype(np.int8), np.array(enrol), np.array(test), names, np.arange(len(pairs)), "by hand")
    write_development_trials(run, trials, [files[place] for place in order] if with_audio else [])
    return run / "checkpoints" / "best.ckpt"


def every_pair(count: int) -> list[tuple[int, int, int]]:
    return [(int(first % 2 == second % 2), first, second) for first in range(count) for second in range(first)]


def test_of_the_runs_own_trials(tmp_path):
    files = write_tones(tmp_path / "audio", 4)
    found = find_specimens(write_run(tmp_path / "run", files, [(1, 0, 2), (0, 3, 2)]), 16000)
    assert found.origin == "3 recordings of the run's development trials"
    for waveform, number in zip(found.waveforms, (0, 2, 3), strict=True):  # as the list has them
        np.testing.assert_array_equal(waveform, read_audio(files[number]))
    assert found.pairs.tolist() == [[0, 1], [2, 1]] and found.labels.tolist() == [1, 0]


def test_trials_of_one_kind_have_no_error_rate(tmp_path):
    files = write_tones(tmp_path / "audio", 3)
    assert find_specimens(write_run(tmp_path / "run", files, [(1, 0, 1), (1, 1, 2)]), 16000).labels is None


def test_not_all_of_a_long_list(tmp_path, monkeypatch):
    monkeypatch.setattr(specimens, "MOST", 6)
    files = write_tones(tmp_path / "audio", 30)
    found = find_specimens(write_run(tmp_path / "run", files, every_pair(30)), 16000)
    assert len(found.waveforms) in (5, 6)
    assert set(found.labels) == {0, 1} and len(found.pairs) == len(found.waveforms) * (len(found.waveforms) - 1) / 2


def test_only_the_start_of_long_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(specimens, "MOST_SECONDS", 0.2)
    files = write_tones(tmp_path, 2)
    assert [len(waveform) for waveform in find_specimens(None, 16000, [str(tmp_path)]).waveforms] == [3200, 3200]
    assert [len(waveform) for waveform in find_specimens(None, 8000, map(str, files)).waveforms] == [1600, 1600]


def test_of_utterances_to_identify(tmp_path):
    files = write_tones(tmp_path / "audio", 4)
    rows = {name: [""] * 4 for name in MANIFEST_SCHEMA.names} | {
        "utterance": [f"u{number}" for number in range(4)],
        "speaker": ["a", "a", "b", "b"],
        "root": [str(tmp_path / "audio")] * 4,
        "path": [file.name for file in files],
        "first_sample": [100] * 4,
        "samples": [4000] * 4,
        "sample_rate": [16000] * 4,
        "split": ["val"] * 4,
    }
    (tmp_path / "run" / "utterances").mkdir(parents=True)
    write_manifest(pa.table(rows, schema=MANIFEST_SCHEMA), tmp_path / "run" / "utterances" / "val.parquet")
    found = find_specimens(tmp_path / "run" / "checkpoints" / "best.ckpt", 16000)
    assert found.origin == "4 recordings of the run's validation utterances"
    np.testing.assert_array_equal(found.waveforms[3], read_audio(files[3], 100, 4000))
    assert found.labels[found.pairs.tolist().index([0, 1])] == 1 and found.labels.sum() == 2


@pytest.mark.parametrize("fate", ["gone", "embeddings", "no run"])
def test_voices_that_are_made(fate, tmp_path):
    files = write_tones(tmp_path / "audio", 2)
    checkpoint = write_run(tmp_path / "run", files, [(1, 0, 1)], with_audio=fate != "embeddings")
    if fate == "gone":
        files[1].unlink()
    if fate == "no run":
        checkpoint = tmp_path / "best.ckpt"
    found, again = find_specimens(checkpoint, 16000), find_specimens(None, 16000)
    assert "synthetic voices" in found.origin and found.labels is None
    assert len(found.waveforms) == 12 and len(found.pairs) == 66
    for one, other in zip(found.waveforms, again.waveforms, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32 and 0.01 < np.abs(one).max() <= 1 and len(one) > 16000
    assert not np.array_equal(found.waveforms[0][:16000], found.waveforms[1][:16000])
    halved = find_specimens(None, 8000).waveforms[0]
    assert abs(2 * len(halved) - len(one)) < len(one) and halved.dtype == np.float32


def test_what_is_given_must_be_there(tmp_path):
    with pytest.raises(InputError, match="no audio file"):
        find_specimens(None, 16000, [str(tmp_path)])
    with pytest.raises(InputError, match="gone.wav"):
        find_specimens(None, 16000, [str(tmp_path / "gone.wav")])
    found = find_specimens(None, 16000, [str(write_tones(tmp_path, 1)[0])])
    assert found.origin == "1 recording of --audio" and found.pairs.shape == (0, 2)
