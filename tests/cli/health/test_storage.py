"""Places that can be written and that can not, and what lies there."""

import resource

import pytest

from speakerlab.cli.health import storage
from speakerlab.inference.gallery import Gallery, Source


def test_a_place(tmp_path):
    found = storage.place("cache", tmp_path / "not" / "yet", "set X", ", empty")
    assert (
        found.state == "good" and found.text.startswith(f"{tmp_path}/not/yet, ") and found.text.endswith("free, empty")
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("needed, state", [(0, "doubtful"), (1e18, "broken")])
def test_little_room(tmp_path, monkeypatch, needed, state):
    monkeypatch.setattr(storage, "NEEDED", needed)
    monkeypatch.setattr(storage, "COMFORTABLE", 1e18)
    found = storage.place("cache", tmp_path, "set X")
    assert (found.state, found.mend) == (state, "make room, or set X")


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    found = storage.place("cache", tmp_path / "file", "set X")
    assert (found.state, found.mend) == ("broken", "set X") and "can't be written (Not a directory)" in found.text


def test_contents(tmp_path, monkeypatch):
    assert storage.contents(tmp_path / "none") == storage.contents(tmp_path) == ", empty"
    for name in ("a", "b/c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(600_000_000)
    assert storage.contents(tmp_path) == ", holds 1.2 GB"
    monkeypatch.setattr(storage, "COUNTED_SECONDS", -1.0)
    assert storage.contents(tmp_path) == ", holds more than 0.6 GB"


def test_shared_memory(tmp_path, monkeypatch):
    assert storage.shared_memory(tmp_path / "none") == []
    assert storage.shared_memory(tmp_path)[0].state == "good"
    monkeypatch.setattr(storage, "ENOUGH_SHARED", 1e18)
    (found,) = storage.shared_memory(tmp_path)
    assert found.state == "doubtful" and "--shm-size" in found.mend


def test_open_files():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        (found,) = storage.open_files()
        assert (found.text, found.mend) == ("at most 256", "ulimit -n 4096")
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
        assert storage.open_files() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_model(tmp_path):
    assert storage.model(None).state == storage.model(str(tmp_path)).state == "good"
    assert storage.model("https://host/model.onnx#sha256=00").state == "good"
    assert storage.model(str(tmp_path / "gone")).state == "broken"


def test_a_gallery(tmp_path):
    path, model = tmp_path / "gallery.sqlite", tmp_path / "best.ckpt"
    assert storage.gallery(path).text == f"{path}: nobody is enrolled yet"
    model.touch()
    Gallery(path, "ab" * 32, 2, model).add("anna", [[1.0, 2.0]], [Source("a", 1.0)])
    assert storage.gallery(path)[2:] == ("good", f"{path}: 1 enrolled", "")
    model.unlink()
    assert storage.gallery(path).state == "doubtful"
    path.write_bytes(b"nonsense" * 99)
    assert storage.gallery(path).state == "broken"
