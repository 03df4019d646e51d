"""Archives written byte by byte as Kaldi's documentation has them, and as its text tools print them."""

import struct

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.kaldi import read, write

ROWS = np.array([[0.5, -1.25], [2.0, 3.0], [4.0, 1e-3]])


def vector(name: str, row: np.ndarray, kind: str) -> bytes:
    letter = "f" if kind.startswith("F") else "d"
    sizes = [len(row)] if kind.endswith("V") else [1, len(row)]
    head = name.encode() + b" \0B" + kind.encode() + b" "
    return (
        head + b"".join(b"\4" + struct.pack("<i", size) for size in sizes) + struct.pack(f"<{len(row)}{letter}", *row)
    )


@pytest.mark.parametrize("kind", ["FV", "DV", "FM", "DM"])
def test_binary_archives(tmp_path, kind):
    content = b"".join(vector(name, row, kind) for name, row in zip(("id1-a", "ö", "c"), ROWS, strict=True))
    (tmp_path / "x.ark").write_bytes(content)
    found = read(tmp_path / "x.ark")
    assert found.names == ["id1-a", "ö", "c"] and found.speakers is None
    np.testing.assert_array_equal(found.rows, ROWS.astype(np.float32))


@pytest.mark.parametrize(
    "text", ["a  [ 0.5 -1.25 ]\nb  [ 2 3 ]\nc  [ 4 1e-3 ]\n", "a  [\n  0.5 -1.25 ]\nb [ 2 3 ]\nc [4 1e-3]"]
)
def test_text_archives(tmp_path, text):
    """Vectors, and matrices of one row."""
    (tmp_path / "x.ark").write_text(text)
    found = read(tmp_path / "x.ark")
    assert found.names == ["a", "b", "c"]
    np.testing.assert_array_equal(found.rows, ROWS.astype(np.float32))


def test_a_script_points_into_archives(tmp_path):
    """In any order, with archives where it says or beside it, binary or text; speakers are in utt2spk."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "x.1.ark").write_bytes(vector("a", ROWS[0], "FV") + vector("b", ROWS[1], "FV"))
    (tmp_path / "x.2.ark").write_text("c  [ 4 1e-3 ]\n")
    second = len(vector("a", ROWS[0], "FV")) + 2
    lines = [f"c gone/x.2.ark:2", f"b {tmp_path}/1/x.1.ark:{second}", f"a {tmp_path}/1/x.1.ark:2"]  # noqa: F541
    (tmp_path / "x.scp").write_text("\n".join(lines) + "\n")
    (tmp_path / "utt2spk").write_text("a s\nb s\nc t\nd t\n")
    found = read(tmp_path / "x.scp")
    assert found.names == ["c", "b", "a"] and found.speakers == ["t", "s", "s"]
    np.testing.assert_array_equal(found.rows, ROWS[::-1].astype(np.float32))
    (tmp_path / "utt2spk").write_text("a s\n")
    with pytest.raises(InputError, match="utt2spk: says no speaker of 2 of 3 utterances, such as c"):
        read(tmp_path / "x.scp")


def test_what_is_written(tmp_path):
    write(tmp_path / "x.scp", checked(["a", "b"], ROWS[:2], "made", ["s", "t"]))
    assert (tmp_path / "x.ark").read_bytes() == vector("a", ROWS[0], "FV") + vector("b", ROWS[1], "FV")
    second = len(vector("a", ROWS[0], "FV")) + 2
    assert (tmp_path / "x.scp").read_text() == f"a {tmp_path}/x.ark:2\nb {tmp_path}/x.ark:{second}\n"
    assert (tmp_path / "utt2spk").read_text() == "a s\nb t\n"
    write(tmp_path / "x.ark", checked(["a"], ROWS[:1], "made"))
    assert not (tmp_path / "utt2spk").exists()
    with pytest.raises(InputError, match="Kaldi's names can't hold spaces, but 'a b' does"):
        write(tmp_path / "x.ark", checked(["a b"], ROWS[:1], "made"))


def test_bad_archives_are_refused(tmp_path):
    good = vector("a", ROWS[0], "FV")
    for content, message in [
        (good[:-1], "is cut off or damaged at byte 4"),
        (good + b"b", "is cut off or no Kaldi archive"),
        (good.replace(b"FV", b"CM"), "begins b'CM ', which is no vector"),
        (b"a  [ 1 2\n", "is cut off or no Kaldi archive"),
        (b"a  [ 1 x ]\n", "no rows of numbers"),
        (b"a  [\n 1 2\n 3 4 ]\n", r"a has an array of the shape \(2, 2\), not one embedding"),
        (good.replace(struct.pack("<i", 2), struct.pack("<i", -2)), "x.ark"),
        (b"", "holds no embeddings"),
    ]:
        (tmp_path / "x.ark").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "x.ark")


@pytest.mark.parametrize("line", ["a cat x.ark |", "a x.ark", "a x.ark:1[0:3]", "a"])
def test_scripts_run_no_commands(tmp_path, line):
    (tmp_path / "x.scp").write_text(line + "\n")
    with pytest.raises(InputError, match="line 1: .* is not 'name archive.ark:offset'"):
        read(tmp_path / "x.scp")
