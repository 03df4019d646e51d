"""Archives in parts, damaged and malicious ones, and what is left of an interrupted run."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.prepare.extract import JoinedFile, extract

FILES = {
    f"dev/id{i}/v/{j}.wav": np.random.default_rng([i, j]).bytes(1000 * (i + 1)) for i in range(4) for j in range(5)
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("dev")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def in_parts(folder, content: bytes, count: int) -> list:
    size = -(-len(content) // count)
    parts = [folder / f"part{i}" for i in range(count)]
    for i, part in enumerate(parts):
        part.write_bytes(content[i * size : (i + 1) * size])
    return parts


def tree(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_joined_parts_read_as_one_file(tmp_path, count):
    content = np.random.default_rng(1).bytes(10_000)
    with io.BufferedReader(JoinedFile(in_parts(tmp_path, content, count)), 333) as file:
        assert file.read() == content
        rng = np.random.default_rng(2)
        for start, length in rng.integers(0, 10_000, (200, 2)):
            file.seek(start)
            assert file.read(length) == content[start : start + length]
        assert file.seek(-10, os.SEEK_END) == 9_990 and file.read() == content[-10:]


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: tarred(files, "w")])
@pytest.mark.parametrize("count", [1, 3])
def test_all_members_come_out(tmp_path, pack, count):
    calls = []
    parts = in_parts(tmp_path, pack(FILES), count)
    assert extract(parts, tmp_path / "out", 2, lambda *call: calls.append(call)) == len(FILES)
    assert tree(tmp_path / "out") == FILES
    assert calls[-1][0] == calls[-1][1] and [call[0] for call in calls] == sorted(call[0] for call in calls)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_only_what_is_missing_is_written(tmp_path, pack):
    parts, out = in_parts(tmp_path, pack(FILES), 2), tmp_path / "out"
    extract(parts, out, 2, lambda *_: None)
    names = list(FILES)
    (out / names[3]).unlink()
    (out / names[5]).write_bytes(b"cut off")
    kept = {name: (out / name).stat().st_mtime_ns for name in names if name not in (names[3], names[5])}
    extract(parts, out, 2, lambda *_: None)
    assert tree(out) == FILES
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.parametrize("name", ["../evil.wav", "/tmp/evil.wav", "dev/../../evil.wav", "..\\evil.wav", "C:\\evil.wav"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_that_lead_outside_are_refused(tmp_path, pack, name):
    parts = in_parts(tmp_path, pack({name: b"x"}), 1)
    with pytest.raises(InputError, match=r"part0: its member .*evil.* leads outside"):
        extract(parts, tmp_path / "out", 1, lambda *_: None)
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


def test_links_are_left_out_and_not_followed(tmp_path):
    """A link to a folder outside, then a member through it."""
    (tmp_path / "outside").mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, aim in (("a", tarfile.SYMTYPE, "../outside"), ("b", tarfile.LNKTYPE, "/etc/passwd")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, aim
            archive.addfile(link)
        member = tarfile.TarInfo("a/evil.wav")
        archive.addfile(member, io.BytesIO())
    assert extract(in_parts(tmp_path, buffer.getvalue(), 1), tmp_path / "out", 1, lambda *_: None) == 1
    assert not list((tmp_path / "outside").iterdir())
    assert sorted(tree(tmp_path / "out")) == ["a/evil.wav"]


def test_a_zips_links_are_left_out(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("a.wav")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert extract(in_parts(tmp_path, buffer.getvalue(), 1), tmp_path / "out", 1, lambda *_: None) == 0
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_damage_is_told(tmp_path, pack):
    content = bytearray(pack(FILES))
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    with pytest.raises(InputError, match=r"part0: can't be unpacked into .*remove it and run again"):
        extract(in_parts(tmp_path, bytes(content), 2), tmp_path / "out", 2, lambda *_: None)
    # Whatever is left under a member's name is right: a run with the mended archive would keep it.
    left = {name: held for name, held in tree(tmp_path / "out").items() if "/." not in name}
    assert all(FILES[name] == held for name, held in left.items())
    extract(in_parts(tmp_path, pack(FILES), 2), tmp_path / "out", 2, lambda *_: None)
    assert {name: held for name, held in tree(tmp_path / "out").items() if "/." not in name} == FILES


def test_a_web_page_is_no_archive(tmp_path):
    with pytest.raises(InputError, match="can't be unpacked"):
        extract(in_parts(tmp_path, b"<html>please log in</html>" * 100, 1), tmp_path / "out", 1, lambda *_: None)
