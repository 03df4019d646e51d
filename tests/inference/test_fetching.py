"""Models from a host on loopback: once, resumed, checked by their SHA-256."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hosts import serve
from recognizers import write_checkpoint

from speakerlab import InputError
from speakerlab.data import download
from speakerlab.inference import SpeakerRecognizer, fetching
from speakerlab.inference.fetching import fetch_model, is_url

SIZE = 1_000_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(download, "TRIES", 2)


@pytest.fixture
def body(tmp_path) -> bytes:
    (tmp_path / "host").mkdir()
    content = np.random.default_rng(1).bytes(SIZE)
    (tmp_path / "host/model.ckpt").write_bytes(content)
    return content


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_an_address():
    assert is_url("https://a/b.ckpt") and is_url("HTTP://a") and not is_url("a.ckpt") and not is_url(Path("http://a"))
    for other in ("ftp://a/b", "file:///etc/passwd", "s3://a/b.ckpt"):
        with pytest.raises(InputError, match=f"{other}: only https addresses are downloaded"):
            is_url(other)


def test_it_comes_once_and_is_resumed(tmp_path, body):
    told, cache = [], tmp_path / "cache"
    with serve(tmp_path / "host", cut_after=[300_000]) as host:
        url = f"{host.url}/model.ckpt"
        path = fetch_model(url, sha256(body), cache, lambda done, total: told.append((done, total)))
        assert path == cache / "models" / sha256(body) / "model.ckpt" and path.read_bytes() == body
        assert [asked for _, asked in host.asked] == ["", "bytes=300000-"] and host.sent == SIZE
        assert told[-1] == (SIZE, SIZE)
        assert fetch_model(f"{url}#sha256={sha256(body).upper()}", None, cache, None) == path
        assert len(host.asked) == 2
    assert fetch_model(url, sha256(body), cache, None) == path  # without the host


def test_another_file_is_never_used(tmp_path, body):
    with serve(tmp_path / "host") as host, pytest.raises(InputError, match="its SHA-256 is wrong"):
        fetch_model(f"{host.url}/model.ckpt", "0" * 64, tmp_path / "cache", None)
    assert not list((tmp_path / "cache").rglob("model.ckpt"))


def test_one_that_changed_in_the_cache_is_refused(tmp_path, body):
    with serve(tmp_path / "host") as host:
        url = f"{host.url}/model.ckpt"
        path = fetch_model(url, sha256(body), tmp_path / "cache", None)
        path.write_bytes(b"x" + body[1:])
        with pytest.raises(InputError, match=r"is damaged or another file .*; remove it"):
            fetch_model(url, sha256(body), tmp_path / "cache", None)


def test_too_much_is_not_taken(tmp_path, body, monkeypatch):
    monkeypatch.setattr(fetching, "LARGEST", 999_999)
    with serve(tmp_path / "host") as host, pytest.raises(InputError, match="it has over 1 MB"):
        fetch_model(f"{host.url}/model.ckpt", sha256(body), tmp_path / "cache", None)
    assert host.sent < SIZE or not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize(
    "url, given, message",
    [
        ("https://h/a.ckpt", None, "give the file's SHA-256"),
        ("https://h/a.ckpt#sha256=12", None, "give the file's SHA-256"),
        ("https://h/a.ckpt", "12", "must be 64 hexadecimal digits"),
        ("https://h/a.ckpt", "g" * 64, "must be 64 hexadecimal digits"),
        (f"https://h/a.ckpt#sha256={'0' * 64}", "1" * 64, "the same if given twice"),
        ("https://", "0" * 64, "is no address"),
        ("http://[::1/a.ckpt", "0" * 64, "is no address"),
    ],
)
def test_addresses_that_are_refused(tmp_path, url, given, message):
    with pytest.raises(InputError, match=message) as caught:
        fetch_model(url, given, tmp_path, None)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path, name",
    [
        ("/a/b.onnx?token=x", "b.onnx"),
        ("/a/..%2f..%2fetc%2fpasswd", "passwd"),
        ("/", "model.ckpt"),
        ("/a/.hidden", "hidden"),
        ("/a%0ab%00c.ckpt", "a_b_c.ckpt"),
    ],
)
def test_no_address_names_a_file_elsewhere(path, name):
    assert fetching._parts(f"https://host{path}")[1] == name


def test_a_model_is_loaded_from_an_address(tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / "host" / "small.ckpt")
    monkeypatch.setenv("SPEAKERLAB_CACHE", str(tmp_path / "cache"))
    right = sha256(checkpoint.read_bytes())
    with serve(tmp_path / "host") as host:
        recognizer = SpeakerRecognizer.load(f"{host.url}/small.ckpt", device="cpu", sha256=right)
    assert recognizer.card == SpeakerRecognizer.load(checkpoint, device="cpu").card
    assert (tmp_path / "cache" / "models" / right / "small.ckpt").is_file()
