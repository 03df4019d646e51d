"""Files that are no galleries, and disks that take no more: one line each, and nothing is touched."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.inference import gallery_file
from speakerlab.inference.gallery import Gallery, Source
from speakerlab.inference.gallery_file import read_origin

ROOT = Path(__file__).parents[2]
OWN, DIM = "ab" * 32, 4


def add(path: Path, name: str = "anna", count: int = 1) -> Gallery:
    gallery = Gallery(path, OWN, DIM, "/m")
    rows = np.random.default_rng(len(name)).normal(size=(count, DIM))
    gallery.add(name, rows, [Source("a.wav", 1.0)] * count)
    return gallery


def database(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def foreign(path: Path) -> None:
    database(path, "CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')")


def another_layout(path: Path) -> None:
    add(path)
    database(path, "CREATE TRIGGER t AFTER INSERT ON recordings BEGIN DELETE FROM recordings; END")


def cut(path: Path) -> None:
    add(path, count=500)
    os.truncate(path, 8192)


def overwritten(path: Path) -> None:
    add(path, count=500)
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def two_origins(path: Path) -> None:
    add(path)
    database(path, "INSERT INTO gallery SELECT * FROM gallery")


def hostile_origin(path: Path) -> None:
    add(path)
    database(path, "UPDATE gallery SET model = char(27) || '[2J'")


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda path: path.write_bytes(os.urandom(9000)), "it is no database of SQLite"),
        (lambda path: path.write_text("anna\n" * 100), "it is no database of SQLite"),
        (foreign, "is no gallery of this version of speakerlab"),
        (another_layout, "is no gallery of this version of speakerlab"),
        (cut, "the gallery is damaged"),
        (overwritten, "the gallery is damaged"),
        (two_origins, "the gallery is damaged"),
        (hostile_origin, "the gallery is damaged"),
        (lambda path: path.mkdir(), "is no file; a gallery is one"),
        (os.mkfifo, "is no file; a gallery is one"),
    ],
)
def test_what_is_no_gallery(tmp_path, make, said):
    path = tmp_path / "gallery.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for use in (lambda: Gallery.at(path).centroids(), lambda: add(path, "boris", 3)):
        with pytest.raises(InputError, match=said) as caught:
            use()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_a_foreign_file_that_came_later_is_not_touched(tmp_path):
    path = tmp_path / "gallery.sqlite"
    gallery = Gallery(path, OWN, DIM)
    foreign(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is no gallery of this version of speakerlab"):
        gallery.add("anna", np.ones((1, DIM)), [Source("a.wav", 1.0)])
    assert path.read_bytes() == before


def test_an_empty_file_is_as_none(tmp_path):
    path = tmp_path / "gallery.sqlite"
    path.touch()
    assert read_origin(path) is None
    assert add(path).speakers()[0].name == "anna"


def test_paths_that_a_uri_would_misread(tmp_path):
    path = tmp_path / "a b?mode=memory#%41.sqlite"
    add(path)
    assert path.is_file() and Gallery.at(path).speakers()[0].name == "anna"


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/gallery.sqlite: can't be used as a gallery \("):
        add(tmp_path / "file" / "gallery.sqlite")


def test_waiting_ends(tmp_path, monkeypatch):
    path = tmp_path / "gallery.sqlite"
    add(path)
    monkeypatch.setattr(gallery_file, "WAIT_SECONDS", 0.1)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="another process has been writing for 0 s; try again"):
        add(path, "boris")
    assert [speaker.name for speaker in Gallery.at(path).speakers()] == ["anna"]  # readers need not wait
    db.close()
    add(path, "boris")


def test_who_begins_while_another_makes_the_file_waits(tmp_path):
    """Neither may switch to the log nor read the other's half."""
    path = tmp_path / "gallery.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    script = (
        "import sys; from speakerlab.inference.gallery import Gallery, Source\n"
        "print('begun', flush=True); Gallery(sys.argv[1], 'ab' * 32, 4).add('anna', [[1, 2, 3, 4]], [Source('a', 1.0)])"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    db.execute("ROLLBACK")
    db.close()
    assert process.wait(60) == 0 and Gallery.at(path).speakers()[0].name == "anna"
    process.stdout.close()


def mounted(options: str, script: str, path: Path) -> subprocess.CompletedProcess:
    """Python in a namespace of its own, in which a file system is mounted on a folder.

    Where the system lets nobody have one, the test is skipped.
    """
    words = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of mounts here")
    command = f'mount {options} {path.parent} && exec {sys.executable} -c "$0" {path}'
    return subprocess.run([*words, "sh", "-c", command, script], cwd=ROOT, capture_output=True, text=True, timeout=240)


TRIES = """
import sys
import numpy as np
from speakerlab import InputError
from speakerlab.inference.gallery import Gallery, Source
def tried(work):
    try:
        print(work())
    except InputError as error:
        print("error:", error)
"""


def test_a_full_disk(tmp_path):
    """What was acknowledged before is there after."""
    script = TRIES + (
        "from pathlib import Path\n"
        "gallery = Gallery(sys.argv[1], 'ab' * 32, 4)\n"
        "row = lambda seed, count: np.random.default_rng(seed).normal(size=(count, 4))\n"
        "print(gallery.add('anna', row(0, 2), [Source('a', 1.0)] * 2))\n"
        "tried(lambda: gallery.add('boris', row(1, 50_000), [Source('a' * 99, 1.0)] * 50_000))\n"
        "print([speaker[:2] for speaker in gallery.speakers()])\n"
        "print(gallery.add('carla', row(2, 1), [Source('a', 1.0)]))\n"
    )
    path = tmp_path / "small" / "gallery.sqlite"
    path.parent.mkdir()
    done = mounted("-t tmpfs -o size=1m tmpfs", script, path)
    assert done.stdout.splitlines() == [
        "2",
        f"error: {path}: no space is left on the disk; the gallery is as it was: make room and try again",
        "[('anna', 2)]",
        "1",
    ], done.stderr


@pytest.mark.parametrize("logged", [False, True], ids=["closed", "with a log"])
def test_a_folder_that_can_only_be_read(tmp_path, logged):
    path = tmp_path / "shared" / "gallery.sqlite"
    path.parent.mkdir()
    add(path)
    if logged:  # as a process leaves it that is killed
        copy = tmp_path / "copy"
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE recordings SET source = 'b'")
        shutil.copytree(path.parent, copy)
        db.close()
        shutil.rmtree(path.parent)
        copy.rename(path.parent)
        (path.parent / "gallery.sqlite-shm").unlink()
    script = TRIES + (
        "tried(lambda: Gallery.at(sys.argv[1]).speakers()[0].name)\n"
        "tried(lambda: Gallery(sys.argv[1], 'ab' * 32, 4).add('boris', np.ones((1, 4)), [Source('a', 1.0)]))\n"
    )
    done = mounted(f"--bind -o ro {path.parent}", script, path)
    first, second = done.stdout.splitlines()
    assert "can't be" in first if logged else first == "anna", done.stderr
    assert second.startswith(f"error: {path}: can't be ") and "gallery" in second
