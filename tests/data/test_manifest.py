"""Round trips, the choice between Parquet and the Arrow copy, and refusals of bad tables."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speakerlab import InputError
from speakerlab.data.manifest import (
    MANIFEST_SCHEMA,
    arrow_copy,
    as_manifest,
    concat_manifests,
    file_of,
    manifest_at,
    read_manifest,
    replacing,
    seconds_of,
    speaker_classes,
    speakers_of,
    write_manifest,
    write_rows,
)


def columns(prefix: str = "") -> dict:
    return {
        "utterance": [f"{prefix}b/1/x.wav", f"{prefix}a/x.wav", f"{prefix}b/2/x.wav"],
        "speaker": [f"{prefix}b", f"{prefix}a", f"{prefix}b"],
        "session": ["1", "", "2"],
        "root": [f"/data/{prefix}"] * 3,
        "path": ["b/1/x.wav", "a/x.wav", "b/2/x.wav"],
        "first_sample": [0, 0, 80],
        "samples": [16000, 24000, 4000],
        "sample_rate": [16000, 16000, 8000],
        "split": ["", "", ""],
        "gender": ["f", "m", "f"],
    }


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "manifest.parquet"
    table = as_manifest(pa.table(columns()), "test")
    assert table.schema == MANIFEST_SCHEMA
    write_manifest(table, path)
    assert sorted(os.listdir(path.parent)) == ["manifest.arrow", "manifest.parquet"]
    assert read_manifest(path).to_pydict() == columns()
    assert pq.read_table(path).to_pydict() == columns()


def test_the_copy_is_mapped_not_read(tmp_path):
    table = pa.table(columns())
    write_manifest(table, tmp_path / "m.parquet")
    before = pa.total_allocated_bytes()
    table = read_manifest(tmp_path / "m.parquet")
    assert pa.total_allocated_bytes() - before < table.nbytes
    assert table["path"].num_chunks == 1


def test_a_newer_parquet_wins(tmp_path):
    path = tmp_path / "m.parquet"
    write_manifest(pa.table(columns()), path)
    pq.write_table(pa.table(columns("new")), path)
    os.utime(arrow_copy(path), ns=(1, 1))
    assert read_manifest(path)["speaker"].to_pylist() == ["newb", "newa", "newb"]


@pytest.mark.parametrize("content", [b"", b"ARROW1 and then nothing"])
def test_a_damaged_copy_is_passed_over(tmp_path, content):
    path = tmp_path / "m.parquet"
    write_manifest(pa.table(columns()), path)
    arrow_copy(path).write_bytes(content)
    assert read_manifest(path).to_pydict() == columns()


def test_parquet_of_other_programs(tmp_path):
    """Other string and integer types, other order, a column of their own, several row groups, no copy."""
    table = pa.table({name: columns()[name] for name in reversed(columns())})
    table = table.set_column(0, "speaker2", pa.array([1, 2, 3])).append_column("gender", pa.array(["f", "m", "f"]))
    index = table.column_names.index("samples")
    table = table.set_column(index, "samples", table["samples"].cast(pa.int32()))
    index = table.column_names.index("path")
    table = table.set_column(index, "path", table["path"].cast(pa.large_string()))
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1)
    read = read_manifest(tmp_path / "m.parquet")
    assert pa.schema(list(read.schema)[:-1]) == MANIFEST_SCHEMA
    assert read.drop_columns("speaker2").to_pydict() == columns() and read["speaker2"].to_pylist() == [1, 2, 3]


def test_helpers():
    table = as_manifest(pa.table(columns()), "test")
    assert speakers_of(table) == ["a", "b"]
    classes = speaker_classes(table, ["a", "b"])
    assert classes.tolist() == [1, 0, 1] and classes.dtype == np.int64
    assert str(file_of(table, 2)) == "/data/b/2/x.wav"
    assert seconds_of(table).tolist() == [1.0, 1.5, 0.5]
    with pytest.raises(InputError, match="speaker 'b' is not among the 1 known"):
        speaker_classes(table, ["a"])


def test_joining():
    first, second = (as_manifest(pa.table(columns(prefix)), "test") for prefix in ("x/", "y/"))
    second = second.append_column("language", pa.array(["fi"] * 3))
    both = concat_manifests([first, second])
    assert both["root"].to_pylist() == ["/data/x/"] * 3 + ["/data/y/"] * 3
    assert both["root"].num_chunks == 1 and both["language"].to_pylist() == [None] * 3 + ["fi"] * 3
    with pytest.raises(InputError, match=r"joined manifests: utterance 'x/b/1/x\.wav' occurs more than once"):
        concat_manifests([first, first])


@pytest.mark.parametrize("name", MANIFEST_SCHEMA.names)
def test_a_missing_column_is_named(tmp_path, name):
    pq.write_table(pa.table(columns()).drop_columns(name), tmp_path / "m.parquet")
    with pytest.raises(InputError, match=rf"m\.parquet: the manifest lacks column {name}; it has \["):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("samples", ["many", "1", "2"], "column samples is string, but must be int64"),
        ("speaker", ["a", None, "b"], "column speaker has 1 empty cells"),
        ("samples", [1, 0, 2], "column samples holds 0, but must be at least 1"),
        ("first_sample", [1, -5, 2], "column first_sample holds -5, but must be at least 0"),
        ("utterance", ["u", "v", "u"], "utterance 'u' occurs more than once"),
    ],
)
def test_bad_cells_are_named(tmp_path, name, values, message):
    with pytest.raises(InputError, match=message):
        write_manifest(pa.table({**columns(), name: values}), tmp_path / "m.parquet")
    assert os.listdir(tmp_path) == []


def test_no_parquet(tmp_path):
    with pytest.raises(InputError, match=r"m\.parquet: no such manifest"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_text("hello")
    with pytest.raises(InputError, match=r"m\.parquet: is no Parquet file, or damaged"):
        read_manifest(tmp_path / "m.parquet")


def test_what_a_path_means(tmp_path, monkeypatch):
    path = tmp_path / "manifest.parquet"
    with pytest.raises(InputError, match=f"^{tmp_path}: holds no manifest.parquet; make it with `speakerlab prepare`"):
        manifest_at(tmp_path)
    (tmp_path / ".prepare").mkdir()
    with pytest.raises(InputError, match="^data.root=.*: is not prepared to its end; run the same"):
        manifest_at(tmp_path, "data.root")
    path.touch()
    assert manifest_at(tmp_path) == manifest_at(str(path)) == path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert manifest_at("~") == path
    with pytest.raises(InputError, match="^~/nowhere: no such manifest or folder"):
        manifest_at("~/nowhere")


@pytest.mark.parametrize("write", [write_manifest, lambda table, path: write_rows(path, [["a"]])])
def test_what_cannot_be_written_is_named(tmp_path, write):
    target = tmp_path / "manifest.parquet"
    target.mkdir()  # root may write anywhere, but not a file in place of a folder
    with pytest.raises(IsADirectoryError) as caught:
        write(pa.table(columns()), target)
    assert caught.value.filename == str(target) and [*tmp_path.iterdir()] == [target]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as caught, replacing(tmp_path / "target") as draft:
        draft.symlink_to("/dev/full")
        pq.write_table(pa.table(columns()), draft)
    assert caught.value.filename == str(tmp_path / "target") and not list(tmp_path.iterdir())
