"""Whole utterances: lengths, batches and padding."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.utterances import (
    TO_THE_END,
    PartDataset,
    RowDataset,
    UtteranceDataset,
    Utterances,
    joined_utterances,
    measure,
    pad_utterances,
    utterances_in_files,
    utterances_of_rows,
)


def test_utterances_one_part_after_the_other():
    first = utterances_in_files(["a", "b"], ["/a.wav", "/b.wav"], ["s", "t"])
    second = Utterances(["c"], ["/c.wav"], np.array([7]), np.array([9]), np.array([0.5]), ["s"])
    both = joined_utterances([first, second])
    assert (both.names, both.files, both.speakers) == (["a", "b", "c"], ["/a.wav", "/b.wav", "/c.wav"], ["s", "t", "s"])
    assert both.first_sample.tolist() == [0, 0, 7] and both.samples.tolist() == [TO_THE_END, TO_THE_END, 9]
    assert np.isnan(both.seconds[:2]).all() and both.seconds[2] == 0.5
    both = joined_utterances([first, utterances_in_files(["d"], None)])
    assert both.names == ["a", "b", "d"] and both.files is None and both.speakers is None


def test_padding():
    items = [(4, np.array([0.1, 0.2], np.float32)), (1, np.array([0.3, 0.4, 0.5], np.float32))]
    batch = pad_utterances(items)
    assert torch.equal(batch["waveform"], torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.4, 0.5]]))
    assert batch["length"].tolist() == [2, 3] and batch["utterance"].tolist() == [4, 1]
    assert batch["length"].dtype == batch["utterance"].dtype == torch.int64


def write(path, samples: int, rate: int = 16000):
    soundfile.write(path, np.random.default_rng(samples).uniform(-0.5, 0.5, samples), rate)
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_whole_files(tmp_path, workers):
    files = [write(tmp_path / f"{i}.wav", samples) for i, samples in enumerate((3000, 8000, 2000))]
    files.append(write(tmp_path / "3.wav", 2000, rate=8000))
    loader = DataLoader(
        UtteranceDataset(files, 16000),
        batch_sampler=LengthBatches(measure(files), 0.55),
        collate_fn=pad_utterances,
        num_workers=workers,
    )
    found = {}
    for batch in loader:
        for row, length, index in zip(batch["waveform"], batch["length"], batch["utterance"], strict=True):
            assert (row[length:] == 0).all()
            found[int(index)] = row[:length].numpy()
    assert sorted(found) == [0, 1, 2, 3] and len(found[3]) == 4000
    for index in range(3):
        np.testing.assert_array_equal(found[index], soundfile.read(files[index], dtype="float32")[0])


def test_measure(tmp_path):
    files = [write(tmp_path / "a.wav", 16000), write(tmp_path / "b.flac", 12000, 8000), write(tmp_path / "c.wav", 1600)]
    np.testing.assert_array_equal(measure(files), [1.0, 1.5, 0.1])


def test_measure_names_the_first_bad_file_and_counts_them(tmp_path):
    good, short = write(tmp_path / "good.wav", 16000), write(tmp_path / "short.wav", 1599)
    (tmp_path / "text.wav").write_text("no audio")
    files = [good, short, tmp_path / "text.wav", tmp_path / "gone.wav"]
    with pytest.raises(InputError, match=r"short\.wav is 0\.100 s long; at least 0\.1 s .*\(3 of 4 files"):
        measure(files)
    with pytest.raises(InputError, match=r"gone\.wav: can't be opened .*\(1 of 2 files"):
        measure([good, tmp_path / "gone.wav"])
    with pytest.raises(InputError, match=r"text\.wav: not readable as audio.*\(2 of 3 files"):
        measure([good, tmp_path / "text.wav", short])


def test_whole_rows(tmp_path):
    """A row may be a part of a file, at another rate."""
    generator = np.random.default_rng(0)
    wave = generator.uniform(-0.5, 0.5, 9000)
    soundfile.write(tmp_path / "a.wav", wave, 16000, "FLOAT")
    columns = {"root": [str(tmp_path)] * 2, "path": ["a.wav"] * 2, "first_sample": [0, 4000], "samples": [9000, 1500]}
    rows = RowDataset(AudioFiles(pa.table(columns | {"sample_rate": [16000] * 2}), 16000))
    assert len(rows) == 2
    for (_, waveform), expected in zip((rows[0], rows[1]), (wave, wave[4000:5500]), strict=True):
        np.testing.assert_array_equal(waveform, expected.astype(np.float32))
    assert (rows[0][0], rows[1][0]) == (0, 1)


def test_utterances_of_a_list_and_of_a_manifest(tmp_path):
    """The same audio in both is known as such; a part is not the whole."""
    files = [write(tmp_path / "a.wav", 16000), write(tmp_path / "b.flac", 12000, 8000)]
    listed = utterances_in_files(["x", "y"], files)
    np.testing.assert_array_equal(listed.measured(np.array([1, 0, 1])), [1.5, 1.0, 1.5])
    assert np.isnan(listed.seconds).all()  # as it was given
    assert listed.same_audio(np.array([1, 0])).tolist() == [12000, 16000]

    columns = {"utterance": ["p", "q", "r"], "speaker": ["s", "s", "t"], "root": [str(tmp_path)] * 3}
    columns |= {"path": ["a.wav", "b.flac", "b.flac"], "first_sample": [0, 0, 4000], "samples": [16000, 11999, 8000]}
    rows = utterances_of_rows(pa.table(columns | {"sample_rate": [16000, 8000, 8000]}))
    assert rows.files == [f"{tmp_path}/a.wav", f"{tmp_path}/b.flac", f"{tmp_path}/b.flac"]
    assert rows.names == ["p", "q", "r"] and rows.speakers == ["s", "s", "t"] and len(rows) == 3
    np.testing.assert_array_equal(rows.measured(np.arange(3)), [1.0, 11999 / 8000, 1.0])
    assert rows.same_audio(np.array([2, 1, 0])).tolist() == [0, 0, TO_THE_END]

    parts = PartDataset(rows, np.array([2, 0]), 8000)
    assert len(parts) == 2 and parts[0][0] == 0
    np.testing.assert_array_equal(parts[0][1], soundfile.read(files[1], dtype="float32")[0][4000:12000])
    assert len(parts[1][1]) == 8000  # at the rate that was asked for
    whole = PartDataset(listed, np.array([1]), 8000)[0][1]
    np.testing.assert_array_equal(whole, soundfile.read(files[1], dtype="float32")[0])


def test_an_unknown_duration_of_a_bad_file_is_refused(tmp_path):
    unknown = Utterances(["x"], [str(tmp_path / "gone.wav")], np.zeros(1, int), np.ones(1, int), np.array([np.nan]))
    with pytest.raises(InputError, match=r"gone\.wav: can't be opened"):
        unknown.measured(np.array([0]))
