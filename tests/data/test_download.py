"""Downloads from a real server on loopback, with what real servers do wrong."""

import hashlib
import threading

import numpy as np
import pytest
from hosts import serve

from speakerlab import InputError
from speakerlab.data import download
from speakerlab.data.download import Downloader, Login, RemoteFile, partial_of
from speakerlab.data.journal import Journal

SIZE = 3_000_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("NETRC", "/nowhere")


@pytest.fixture
def body(tmp_path) -> bytes:
    """What the host has as `a.zip`."""
    (tmp_path / "host").mkdir()
    content = np.random.default_rng(1).bytes(SIZE)
    (tmp_path / "host/a.zip").write_bytes(content)
    return content


def remote(*urls: str, body: bytes | None = None) -> RemoteFile:
    md5 = hashlib.md5(body).hexdigest() if body is not None else None
    return RemoteFile("a.zip", tuple(f"{url}/a.zip" for url in urls), md5, len(body) if body else None)


def fetch(tmp_path, *files: RemoteFile, login=None, connections: int = 2) -> list[tuple[int, int]]:
    """The calls of `progress`."""
    calls = []
    downloader = Downloader(tmp_path / "to", Journal(tmp_path / "md5.jsonl"), login, connections)
    downloader.fetch(list(files), lambda done, total: calls.append((done, total)))
    return calls


def fetched(tmp_path) -> bytes:
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["a.zip"]
    return (tmp_path / "to/a.zip").read_bytes()


def test_a_file_comes_once(tmp_path, body):
    with serve(tmp_path / "host") as host:
        calls = fetch(tmp_path, remote(host.url, body=body))
        assert fetched(tmp_path) == body
        assert calls[0] == (0, SIZE) and calls[-1] == (SIZE, SIZE)
        assert fetch(tmp_path, remote(host.url, body=body)) == [(0, 0)]
        assert len(host.asked) == 1


@pytest.mark.parametrize("known_md5", [True, False])
def test_cut_connections_are_resumed(tmp_path, body, known_md5):
    """Even more often than tries are allowed, since each brings something; not a byte is sent twice."""
    with serve(tmp_path / "host", cut_after=[250_000] * 11) as host:
        calls = fetch(tmp_path, remote(host.url, body=body if known_md5 else None))
        assert fetched(tmp_path) == body
        assert [asked for _, asked in host.asked] == ["", *(f"bytes={250_000 * n}-" for n in range(1, 12))]
        assert host.sent == SIZE
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_each_further_try_is_said(tmp_path, body, caplog, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 3)
    with pytest.raises(InputError, match="no connection"):
        fetch(tmp_path, remote("http://127.0.0.1:9", body=body))
    assert caplog.messages == ["a.zip: no connection; trying again in 0 s"] * 2


def test_a_host_without_ranges_sends_all_again(tmp_path, body):
    with serve(tmp_path / "host", ranges=False, cut_after=[1_000_000]) as host:
        calls = fetch(tmp_path, remote(host.url, body=body))
        assert fetched(tmp_path) == body
        assert host.sent == SIZE + 1_000_000
    assert calls[-1] == (SIZE, SIZE)  # what was thrown away does not count


def test_what_an_earlier_run_left_is_kept(tmp_path, body):
    with serve(tmp_path / "host") as host:
        file = remote(host.url, body=body)
        (tmp_path / "to").mkdir()
        partial_of(tmp_path / "to", file)[0].write_bytes(body[:1_000_000])
        calls = fetch(tmp_path, file)
        assert fetched(tmp_path) == body
        assert calls[0] == (1_000_000, SIZE)
        assert host.sent == SIZE - 1_000_000


def test_all_of_it_came_before_the_kill(tmp_path, body):
    with serve(tmp_path / "host") as host:
        file = remote(host.url, body=body)
        (tmp_path / "to").mkdir()
        partial_of(tmp_path / "to", file)[0].write_bytes(body)
        fetch(tmp_path, file)
        assert fetched(tmp_path) == body and host.sent == 0


def test_a_file_that_changed_at_the_host_is_fetched_anew(tmp_path, body):
    """Without an MD5 only the host's tag can tell."""
    with serve(tmp_path / "host", cut_after=[1_000_000]) as host:
        file, new = remote(host.url), body[::-1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(download, "TRIES", 1)
            with pytest.raises(InputError, match="the connection was cut"):
                fetch(tmp_path, file)
        (tmp_path / "host/a.zip").write_bytes(new)
        fetch(tmp_path, file)
        assert fetched(tmp_path) == new


def test_a_wrong_start_is_thrown_away_by_its_md5(tmp_path, body):
    with serve(tmp_path / "host") as host:
        file = remote(host.url, body=body)
        (tmp_path / "to").mkdir()
        partial_of(tmp_path / "to", file)[0].write_bytes(b"x" * 500_000)
        fetch(tmp_path, file)
        assert fetched(tmp_path) == body
        assert host.sent == 2 * SIZE - 500_000


def test_another_file_under_the_name_is_refused(tmp_path, body):
    with (
        serve(tmp_path / "host") as host,
        pytest.raises(InputError, match=r"not downloaded: a\.zip \(its MD5 is wrong"),
    ):
        fetch(tmp_path, RemoteFile("a.zip", (f"{host.url}/a.zip",), "0" * 32, None))
    assert not (tmp_path / "to/a.zip").exists()


def test_a_file_put_there_by_hand_is_checked(tmp_path, body):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/a.zip").write_bytes(body)
    assert fetch(tmp_path, remote("http://127.0.0.1:9", body=body)) == [(0, 0)]
    (tmp_path / "to/a.zip").write_bytes(body[:-1])
    with pytest.raises(InputError, match=r"to/a\.zip: is damaged or another file"):
        fetch(tmp_path, remote("http://127.0.0.1:9", body=body))


def test_one_reason_is_told_once(tmp_path, body):
    with serve(tmp_path / "host") as host:
        gone = [RemoteFile(f"{name}.zip", (f"{host.url}/{name}.zip",)) for name in "edcb"]
        with pytest.raises(
            InputError, match=r"^not downloaded: 4 files such as b\.zip \(127\.0\.0\.1 answers 404[^;]*; run"
        ):
            fetch(tmp_path, *gone)


def test_a_password(tmp_path, body):
    with serve(tmp_path / "host", login="me:secret") as host:
        with pytest.raises(InputError, match="127.0.0.1 answers 401 Unauthorized; give --user"):
            fetch(tmp_path, remote(host.url, body=body))
        assert len(host.asked) == 1  # no use in trying again
        fetch(tmp_path, remote(host.url, body=body), login=Login("me", "secret", host.url))
        assert fetched(tmp_path) == body


def test_a_password_goes_to_its_host_alone(tmp_path, body):
    with serve(tmp_path / "host", login="me:secret") as host, serve(tmp_path / "host") as other:
        elsewhere = remote(other.url, body=body)
        fetch(tmp_path, elsewhere, login=Login("me", "secret", host.url))
        assert other.logins == [""] and host.logins == []


def test_a_password_from_netrc(tmp_path, body, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(tmp_path / "host", login="me:secret") as host:
        fetch(tmp_path, remote(host.url, body=body))
    assert fetched(tmp_path) == body


def test_the_next_address_is_tried(tmp_path, body):
    (tmp_path / "empty").mkdir()
    with serve(tmp_path / "host") as host, serve(tmp_path / "empty") as other:
        fetch(tmp_path, remote("http://127.0.0.1:9", other.url, host.url, body=body))
    assert fetched(tmp_path) == body


def test_a_busy_host_is_asked_again(tmp_path, body):
    with serve(tmp_path / "host", failures=[503, 503, 500]) as host:
        fetch(tmp_path, remote(host.url, body=body))
        assert len(host.asked) == 4
    assert fetched(tmp_path) == body


def test_one_that_fails_does_not_stop_the_others(tmp_path, body):
    with serve(tmp_path / "host") as host:
        gone = RemoteFile("b.zip", (f"{host.url}/b.zip",))
        with pytest.raises(
            InputError, match=r"not downloaded: b\.zip \(127\.0\.0\.1 answers 404 Not Found\); run again"
        ):
            fetch(tmp_path, gone, remote(host.url, body=body))
    assert fetched(tmp_path) == body


def test_files_come_at_once(tmp_path, body):
    """Two connections at a slow host take the time of one."""
    (tmp_path / "host/b.zip").write_bytes(body)
    most, lock = 0, threading.Lock()
    with serve(tmp_path / "host", slow=10_000_000) as host:
        files = [RemoteFile(name, (f"{host.url}/{name}",), None, SIZE) for name in ("a.zip", "b.zip")]
        seen = []

        def progress(done: int, total: int) -> None:
            nonlocal most
            with lock:
                parts = [path for path in (tmp_path / "to").glob(".*.part") if path.stat().st_size]
                most = max(most, len(parts))
                seen.append((done, total))

        Downloader(tmp_path / "to", Journal(tmp_path / "md5.jsonl"), None, 2).fetch(files, progress)
    assert most == 2 and seen[-1] == (2 * SIZE, 2 * SIZE)


def test_a_sha256_counts_as_an_md5(tmp_path, body):
    right, wrong = hashlib.sha256(body).hexdigest(), "0" * 64
    with serve(tmp_path / "host", cut_after=[1_000_000]) as host:
        url = f"{host.url}/a.zip"
        fetch(tmp_path, RemoteFile("a.zip", (url,), sha256=right))
        assert fetched(tmp_path) == body and host.sent == SIZE
        with pytest.raises(InputError, match=f"its SHA-256 is not {wrong}"):
            fetch(tmp_path, RemoteFile("a.zip", (url,), sha256=wrong))


@pytest.mark.parametrize("ranges", [True, False])
def test_more_than_the_largest_is_not_taken(tmp_path, body, ranges):
    with serve(tmp_path / "host", ranges=ranges) as host:
        file = RemoteFile("a.zip", (f"{host.url}/a.zip",), largest=SIZE - 1)
        with pytest.raises(InputError, match=r"not downloaded: a\.zip \(it has over 3 MB\)"):
            fetch(tmp_path, file)
        assert len(host.asked) == 1
    part, _ = partial_of(tmp_path / "to", file)
    assert not part.exists()


def test_a_host_that_trickles_is_given_up(tmp_path, body, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.5)
    monkeypatch.setattr(download, "SLOWEST", 1_000_000)
    with serve(tmp_path / "host", slow=20_000) as host, pytest.raises(InputError, match="sends next to nothing"):
        fetch(tmp_path, remote(host.url, body=body))
    assert len(host.asked) == 1
