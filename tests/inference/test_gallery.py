"""Galleries on the disk: against NumPy written out, and with real processes that race and are killed."""

import os
import random
import re
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.inference.gallery import EnrolledSpeaker, Gallery, Source, checked_name, default_gallery

ROOT = Path(__file__).parents[2]
OWN, OTHER = "ab" * 32, "cd" * 32
DIM = 6
# Enrols recordings without end, and says of each speaker when it is acknowledged.
ENROLS = """
import sys
import numpy as np
from speakerlab.inference.gallery import Gallery, Source
gallery = Gallery(sys.argv[1], "ab" * 32, 6)
generator = np.random.default_rng(int(sys.argv[2]))
for number in range(int(sys.argv[3])):
    rows = generator.normal(size=(2, 6))
    gallery.add(f"{sys.argv[2]}-{number}", rows, [Source("a", 1.0), Source("b", 1.0)])
    print(number, flush=True)
"""


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    return Gallery(tmp_path / "gallery.sqlite", OWN, DIM, "/models/best.ckpt")


def rows_of(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def sources(count: int, seconds: float = 1.5) -> list[Source]:
    return [Source(f"{number}.wav", seconds) for number in range(count)]


def enrolling(path: Path, seed: int, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", ENROLS, str(path), str(seed), str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_nothing_is_made_before_somebody_is_enrolled(gallery, tmp_path):
    names, centroids = gallery.centroids()
    assert gallery.speakers() == names == [] and centroids.shape == (0, DIM) and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="there is no such gallery: nobody is enrolled yet"):
        Gallery.at(gallery.path)


def test_who_is_enrolled(gallery):
    anna, boris = rows_of(0, 3), rows_of(1, 2)
    assert gallery.add("boris", boris, sources(2)) == 2
    assert gallery.add("anna", anna[:1], sources(1)) == 1
    assert gallery.add("anna", anna[1:], sources(2, 4.0)) == 2
    again = Gallery.at(gallery.path)
    assert again.origin == (OWN, DIM, "/models/best.ckpt")
    first, second = again.speakers()
    assert first == EnrolledSpeaker("anna", 3, 9.5, first.since) and second[:3] == ("boris", 2, 3.0)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first.since)
    names, centroids = again.centroids()
    assert names == ["anna", "boris"] and centroids.dtype == np.float32
    for centroid, rows in zip(centroids, (anna, boris), strict=True):
        mean = sum(row / np.linalg.norm(row) for row in rows)
        np.testing.assert_allclose(centroid, mean / np.linalg.norm(mean), atol=1e-6)


def test_the_same_recordings_count_once(gallery):
    rows = rows_of(0, 3)
    assert gallery.add("anna", rows[[0, 1, 0]], sources(3)) == 2
    assert gallery.add("anna", rows, sources(3)) == 1
    assert gallery.add("boris", rows, sources(3)) == 3
    assert [speaker.recordings for speaker in gallery.speakers()] == [3, 3]


def test_forgetting_leaves_no_trace(gallery):
    rows = rows_of(0, 40)
    gallery.add("anna", rows[:20], [Source("holiday in Rome.wav", 1.0)] * 20)
    gallery.add("boris", rows[20:], sources(20))
    reader = sqlite3.connect(gallery.path)  # keeps SQLite from clearing its log when the last one leaves
    reader.execute("SELECT * FROM recordings").fetchall()
    assert rows[0].tobytes() in whole(gallery.path)
    assert gallery.remove("anna") == 20
    left = whole(gallery.path)
    assert not any(row.tobytes() in left for row in rows[:20]) and b"Rome" not in left and rows[20].tobytes() in left
    assert [speaker.name for speaker in gallery.speakers()] == ["boris"]
    for name, said in {"anna": "'anna': nobody of this name is enrolled", "Boris": "did you mean boris"}.items():
        with pytest.raises(InputError, match=said):
            gallery.remove(name)
    gallery.remove("boris")
    assert gallery.speakers() == []
    reader.close()


def whole(path: Path) -> bytes:
    """A gallery's bytes, and those of the files that SQLite keeps beside it."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_the_file_is_its_owners_alone(tmp_path):
    umask = os.umask(0)
    try:
        gallery = Gallery(tmp_path / "new" / "gallery.sqlite", OWN, DIM)
        gallery.add("anna", rows_of(0, 1), sources(1))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(gallery.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in gallery.path.parent.iterdir()} == {0o600}


def test_another_model_is_refused(gallery):
    gallery.add("anna", rows_of(0, 1), sources(1))
    for fingerprint, dim in ((OTHER, DIM), (OWN, DIM + 1)):
        with pytest.raises(InputError, match=r"holds another model's embeddings, of /models/best.ckpt \(finger"):
            Gallery(gallery.path, fingerprint, dim)


def test_another_model_is_refused_where_it_came_later(gallery):
    Gallery(gallery.path, OTHER, DIM).add("anna", rows_of(0, 1), sources(1))
    work = (gallery.speakers, gallery.centroids, lambda: gallery.add("boris", rows_of(1, 1), sources(1)))
    for use in work:
        with pytest.raises(InputError, match="holds another model's embeddings, of an unknown place"):
            use()


def test_where_the_model_was_last_is_remembered(gallery):
    gallery.add("anna", rows_of(0, 1), sources(1))
    Gallery(gallery.path, OWN, DIM, Path("/moved/model.onnx")).add("anna", rows_of(1, 1), sources(1))
    assert Gallery.at(gallery.path).origin.model == "/moved/model.onnx"
    Gallery(gallery.path, OWN, DIM, "a\nb").add("anna", rows_of(2, 1), sources(1))
    assert Gallery.at(gallery.path).origin.model == "/moved/model.onnx"


@pytest.mark.parametrize(
    "name, said",
    [
        ("", "is empty"),
        (" anna", "begins or ends with a blank"),
        ("\t", "begins or ends with a blank"),
        ("an\nna", "control or invisible"),
        ("\x1b[31mred", "control or invisible"),
        ("anna\u202egpj", "control or invisible"),
        ("a\x00b", "control or invisible"),
        ("\udcff", "control or invisible"),
        ("x" * 201, "201 characters"),
    ],
)
def test_hostile_names(gallery, name, said):
    with pytest.raises(InputError, match=said) as caught:
        gallery.add(name, rows_of(0, 1), sources(1))
    assert str(caught.value).isprintable() and not gallery.path.exists()


@pytest.mark.parametrize("name", ["Robert'); DROP TABLE recordings;--", "../../etc/passwd", "x" * 200, "می\u200cخواهم"])
def test_odd_names_are_names(gallery, name):
    gallery.add(name, rows_of(0, 1), sources(1))
    assert [speaker.name for speaker in gallery.speakers()] == [name]


def test_equal_names_are_equal():
    assert checked_name("Zoe\u0301") == "Zo\u00e9"


def test_a_name_that_is_composed_otherwise_is_forgotten(gallery):
    gallery.add("Zo\u00e9", rows_of(0, 1), sources(1))
    assert gallery.remove("Zoe\u0301") == 1


@pytest.mark.parametrize(
    "rows",
    [np.zeros((1, DIM)), np.full((1, DIM), np.nan), np.ones((1, DIM + 1)), np.ones(DIM), np.ones((2, DIM))],
    ids=["zero", "nan", "wide", "flat", "more than sources"],
)
def test_what_is_no_embedding(gallery, rows):
    with pytest.raises(InputError):
        gallery.add("anna", rows, sources(1))
    assert not gallery.path.exists()


def test_file_names_that_are_no_unicode(gallery):
    gallery.add("anna", rows_of(0, 1), [Source(os.fsdecode(b"\xff.wav"), 1.0)])
    assert gallery.speakers()[0].recordings == 1


def test_an_exception_within_undoes_all(gallery):
    gallery.add("anna", rows_of(0, 1), sources(1))
    with pytest.raises(ValueError, match="float"):
        gallery.add("boris", rows_of(1, 2), [Source("a", 1.0), Source("b", "long")])
    assert [speaker.name for speaker in gallery.speakers()] == ["anna"]


@pytest.mark.parametrize(
    "change, said",
    [
        ("UPDATE recordings SET embedding = zeroblob(24)", "embeddings without a direction"),
        ("UPDATE recordings SET embedding = zeroblob(20)", "embeddings of another size"),
        ("UPDATE recordings SET embedding = 'abcdefghijklmnopqrstuvwx'", "embeddings of another size"),
        ("UPDATE recordings SET speaker = char(27) || '[2J'", "a speaker's name"),
        ("UPDATE recordings SET speaker = X'FF'", "a speaker's name"),
        ("UPDATE recordings SET speaker = CAST(X'FF' AS TEXT)", "UTF-8"),
    ],
)
def test_contents_of_another_program(gallery, change, said):
    gallery.add("anna", rows_of(0, 2), sources(2))
    with sqlite3.connect(gallery.path) as db:
        db.execute(change)
    db.close()
    uses = (gallery.centroids, gallery.speakers) if "speaker =" in change else (gallery.centroids,)
    for use in uses:
        with pytest.raises(InputError, match=rf"gallery.sqlite: the gallery is damaged \(.*{said}") as caught:
            use()
        assert str(caught.value).isprintable()


def test_processes_enrol_at_once(tmp_path):
    path = tmp_path / "gallery.sqlite"
    processes = [enrolling(path, seed, 5) for seed in range(3)]  # who is first makes the file
    assert [process.wait(240) for process in processes] == [0, 0, 0]
    found = Gallery.at(path)
    assert sorted(speaker.name for speaker in found.speakers()) == [f"{i}-{j}" for i in range(3) for j in range(5)]
    names, centroids = found.centroids()
    generator = np.random.default_rng(1)
    for number in range(5):
        rows = generator.normal(size=(2, DIM)).astype(np.float32)
        mean = sum(row / np.linalg.norm(row) for row in rows)
        own = centroids[names.index(f"1-{number}")]
        np.testing.assert_allclose(own, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    path, acknowledged = tmp_path / "gallery.sqlite", {}
    for seed in range(3):
        process = enrolling(path, seed, 10**6)
        process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 0.2))
        process.kill()
        told = process.communicate(timeout=60)[0].split("\n")[:-1]  # a line cut off was not told
        acknowledged[seed] = 1 + len(told)
    speakers = Gallery.at(path).speakers()
    for seed, count in acknowledged.items():
        kept = [speaker for speaker in speakers if speaker.name.startswith(f"{seed}-")]
        assert len(kept) in (count, count + 1)  # the last one may be on the disk before it is told
        assert all(speaker.recordings == 2 for speaker in kept)  # whole or not at all
    assert Gallery(path, OWN, DIM).add("later", rows_of(9, 1), sources(1)) == 1
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_where_the_gallery_is_by_default(monkeypatch):
    monkeypatch.delenv("SPEAKERLAB_GALLERY", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_gallery() == Path("/home/me/.local/share/speakerlab/gallery.sqlite")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_gallery() == Path("/data/speakerlab/gallery.sqlite")
    monkeypatch.setenv("SPEAKERLAB_GALLERY", "~/team.sqlite")
    assert default_gallery() == Path("/home/me/team.sqlite")


def test_it_needs_no_torch():
    code = "import sys, speakerlab.inference.gallery; sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
