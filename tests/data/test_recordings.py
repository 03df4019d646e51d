"""Rows of a manifest as audio."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from speakerlab.data.audio import AudioError, read_audio
from speakerlab.data.manifest import as_manifest, file_of
from speakerlab.data.recordings import AudioFiles


@pytest.fixture
def table(tmp_path) -> pa.Table:
    """Five rows over three roots, the last two parts of one file of 8 kHz; in two pieces, as a filter leaves them."""
    roots = [tmp_path / name for name in ("one", "two", "one", "three", "three")]
    paths = ["s1/a.wav", "s2/b.flac", "s3/c.wav", "s4/long.wav", "s4/long.wav"]
    for number, (root, path) in enumerate(zip(roots, paths, strict=True)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 4000)
        soundfile.write(root / path, noise, 8000 if "long" in path else 16000)
    columns = {
        "utterance": list("abcde"),
        "speaker": ["s1", "s2", "s3", "s4", "s4"],
        "session": [""] * 5,
        "root": list(map(str, roots)),
        "path": paths,
        "first_sample": [0, 0, 100, 0, 1000],
        "samples": [4000, 4000, 3900, 1000, 3000],
        "sample_rate": [16000, 16000, 16000, 8000, 8000],
        "split": [""] * 5,
        "gender": [""] * 5,
    }
    whole = as_manifest(pa.table(columns), "test")
    return pa.concat_tables([whole.slice(0, 2), whole.slice(2)])


def test_rows_are_the_parts_of_their_files(table):
    files = AudioFiles(table, 16000)
    assert files.samples.tolist() == [4000, 4000, 3900, 1000, 3000]
    assert files.sample_rates.tolist() == [16000, 16000, 16000, 8000, 8000]
    firsts = [0, 0, 100, 0, 1000]
    for row, first in enumerate(firsts):
        assert files.path(row) == str(file_of(table, row))
        np.testing.assert_array_equal(files.read(row, 50, 500), read_audio(file_of(table, row), first + 50, 500))
    assert len(files.read(4, 0, 3000)) == 6000 and len(files.read(4, 0, 3000, speed=1.25)) == 4800


def test_errors_name_the_file(table):
    file_of(table, 2).unlink()
    with pytest.raises(AudioError, match=f"^{file_of(table, 2)}: can't be opened"):
        AudioFiles(table, 16000).read(2, 0, 10)
