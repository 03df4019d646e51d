"""What is found beside real trees of files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from speakerlab.data.manifest import MANIFEST_SCHEMA, write_manifest
from speakerlab.data.utterance_facts import find_facts, sessions_by_folder

NAMES = ["anna/s1/1.wav", "anna/s2/1.wav", "ben/s1/1.wav", "ben/s1/2.wav"]
SPEAKERS = np.array([0, 0, 1, 1])


@pytest.fixture
def tree(tmp_path) -> list[Path]:
    files = [tmp_path / "wav" / name for name in NAMES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return files


def manifest(root: Path, paths: list[str], **columns: list) -> pa.Table:
    count = len(paths)
    values = {
        "utterance": [f"u{i}" for i in range(count)],
        "speaker": ["x"] * count,
        "session": [""] * count,
        "root": [str(root)] * count,
        "path": paths,
        "first_sample": [0] * count,
        "samples": [16000] * count,
        "sample_rate": [16000] * count,
        "split": ["test"] * count,
        "gender": [""] * count,
    }
    table = pa.table(values | columns)
    return table.cast(pa.schema([*MANIFEST_SCHEMA, *(table.schema.field(name) for name in table.column_names[10:])]))


def test_a_manifest_above_the_files_tells_all(tree, tmp_path):
    paths = [f"wav/{name}" for name in NAMES[:3]]
    columns = {"session": ["mon", "tue", "mon"], "gender": ["F", "f", "m"], "snr": [10.0, None, 3.5]}
    write_manifest(manifest(tmp_path, paths, **columns), tmp_path / "manifest.parquet")
    facts = find_facts(tree, SPEAKERS)
    assert facts.gender.tolist() == ["f", "f", "m", ""]
    assert facts.session.tolist() == ["mon", "tue", "mon", ""]
    np.testing.assert_array_equal(facts.snr, [10.0, np.nan, 3.5, np.nan])


def test_a_manifest_elsewhere_is_named_by_its_folder(tree, tmp_path):
    other = tmp_path / "lists"
    write_manifest(
        manifest(tmp_path, [f"wav/{name}" for name in NAMES], gender=list("ffmm")), other / "manifest.parquet"
    )
    assert find_facts(tree, SPEAKERS).gender.tolist() == [""] * 4
    facts = find_facts(tree, SPEAKERS, [other])
    assert facts.gender.tolist() == list("ffmm") and np.isnan(facts.snr).all()
    assert facts.session.tolist() == [str(file.parent) for file in tree]


def test_lists_of_speakers_tell_genders(tree, tmp_path):
    (tmp_path / "speakers.csv").write_text("corpus,speaker,gender\na,anna,Female\nb,carl,m\nc,ben,m\nd,ben,f\n")
    assert find_facts(tree, SPEAKERS).gender.tolist() == ["f", "f", "", ""]  # there are two of the name ben
    (tmp_path / "speakers.csv").unlink()
    (tmp_path / "meta").mkdir()
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    (tmp_path / "meta" / "vox1_meta.csv").write_text(f"{header}ben\tBen\tm\tUSA\ttest\n")
    assert find_facts(tree, SPEAKERS).gender.tolist() == ["", "", "m", "m"]


def test_folders_are_sessions_where_a_speaker_has_several(tree):
    assert sessions_by_folder(tree, SPEAKERS).tolist() == [str(file.parent) for file in tree]
    flat = [Path("/c/anna/1"), Path("/c/anna/2"), Path("/c/ben/1")]
    assert sessions_by_folder(flat, np.array([0, 0, 1])).tolist() == ["", "", ""]
