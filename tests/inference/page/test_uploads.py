"""No path leads out of the folder, and nothing stays in it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speakerlab import InputError
from speakerlab.inference.page.limits import Limits
from speakerlab.inference.page.uploads import PREFIX, Uploads


@pytest.fixture
def uploads():
    found = Uploads(Limits(megabytes=0.01, folder_megabytes=0.02))
    yield found
    found.close()


def test_an_uploaded_file_is_read_under_its_name(uploads):
    path = uploads.folder / "abc" / "Anna \x1b[1m.wav"
    path.parent.mkdir()
    path.write_bytes(b"RIFF")
    audio = uploads.read(str(path))
    assert (audio.name, audio.data) == ("Anna ?[1m.wav", b"RIFF")


def test_other_files_are_not(uploads, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    link = uploads.folder / "link.wav"
    link.symlink_to(secret)
    sibling = Path(f"{uploads.folder}-other")
    climbing = f"{uploads.folder}/../{secret.relative_to('/')}"
    for path in ("/etc/passwd", secret, link, climbing, sibling, uploads.folder, "a.wav", "/a\0b", 7, None, "x" * 9999):
        given = str(path) if isinstance(path, Path) else path
        assert not uploads.holds(given), path
        with pytest.raises(InputError, match="no file uploaded"):
            uploads.read(given)


def test_sizes_are_bounded(uploads):
    path = uploads.folder / "a.wav"
    path.write_bytes(bytes(10_000))
    assert len(uploads.read(str(path)).data) == 10_000
    path.write_bytes(bytes(10_001))
    with pytest.raises(InputError, match=r"a\.wav: is larger than 0\.01 MB"):
        uploads.read(str(path))
    assert uploads.room(9_999) and not uploads.room(10_000)


def test_old_files_are_deleted(uploads, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    for name in ("old", "new"):
        (uploads.folder / name).mkdir()
        (uploads.folder / name / "a.wav").write_bytes(b"RIFF")
    (uploads.folder / "link").symlink_to(secret)
    long_ago = time.time() - uploads.limits.kept_seconds - 1
    os.utime(uploads.folder / "old" / "a.wav", (long_ago, long_ago))
    assert uploads.sweep() == 2
    assert [path.name for path in uploads.folder.rglob("a.wav")] == ["a.wav"] and secret.is_file()
    assert uploads.sweep(time.time() + 10_000) == 1 and not list(uploads.folder.rglob("*.wav"))


def test_closing_leaves_nothing(uploads):
    assert uploads.folder.stat().st_mode & 0o077 == 0
    (uploads.folder / "a.wav").write_bytes(b"RIFF")
    uploads.close()
    assert not uploads.folder.exists()


def test_the_folder_of_a_killed_server_is_deleted_by_the_next(uploads):
    program = (
        "import os, signal\nfrom speakerlab.inference.page.uploads import Uploads, Limits\n"
        "print(Uploads(Limits()).folder, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    abandoned = Path(done.stdout.strip())
    assert abandoned.is_dir() and abandoned.name.startswith(PREFIX)
    other = Uploads(Limits())
    assert not abandoned.exists() and uploads.folder.is_dir()
    other.close()


def test_limits_are_checked():
    with pytest.raises(InputError, match=r"seconds=0\.5 must lie in 1 to 300"):
        Limits(seconds=0.5)
    with pytest.raises(InputError, match="folder_megabytes=1 must lie in 25"):
        Limits(folder_megabytes=1)
