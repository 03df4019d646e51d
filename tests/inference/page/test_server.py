"""The page as it is served: what is asked by HTTP, and in a browser where there is one."""

import os
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from browser import Browser, find_browser
from pages import Asker, file_data
from recognizers import write_run

from speakerlab import InputError
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.page.limits import Limits
from speakerlab.inference.page.server import serving
from speakerlab.reports.recording import recording_svg

pytest.importorskip("gradio")
LIMITS = Limits(megabytes=0.2, seconds=5.0, per_minute=100_000, files=2, folder_megabytes=3.0)


def voice(path: Path, pitch: float) -> Path:
    time = np.arange(16000) / 16000
    tone = sum(np.sin(2 * np.pi * pitch * (k + 1) * time) / (k + 1) for k in range(6))
    noise = np.random.default_rng(int(pitch)).standard_normal(len(time))
    soundfile.write(path, 0.1 * tone + 0.02 * noise, 16000)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("voices")
    return voice(folder / "anna.flac", 110), voice(folder / "bob.wav", 190)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory) -> SpeakerRecognizer:
    folder = tmp_path_factory.mktemp("runs")
    run = write_run(folder / "small" / "2026-01-31_12-00-00")
    return SpeakerRecognizer.load(run, device="cpu", gallery=folder / "gallery.sqlite")


@pytest.fixture(scope="module")
def asker(recognizer):
    # What another program has set must not open this page.
    os.environ["GRADIO_ALLOWED_PATHS"] = "/etc"
    try:
        with serving(recognizer, recording_svg, limits=LIMITS, port=free_port()) as address:
            yield Asker(address)
        assert os.environ["GRADIO_ALLOWED_PATHS"] == "/etc" and "GRADIO_TEMP_DIR" not in os.environ
    finally:
        del os.environ["GRADIO_ALLOWED_PATHS"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def score_in(html: str) -> float:
    return float(re.search(r'data-fact="score">([^<]*)<', html)[1])


def test_two_uploads_have_the_score_of_the_python_api(asker, recognizer, files):
    paths = asker.upload(*files)
    verdict, first, second, _ = asker.ask("compare", *map(file_data, paths), 0.5)
    assert score_in(verdict) == pytest.approx(recognizer.verify(*files).score, abs=1e-4)
    assert "anna.flac" in first and "<svg" in first and "#00e5ff" in first and "bob.wav" in second


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "http://127.0.0.1:1/a.wav", "../../etc/passwd", "", 7, ["/etc/passwd"]]
)
def test_no_other_file_is_opened(asker, path, meta):
    for question, data in (
        ("compare", [{"path": path, **meta}, {"path": path, **meta}, 0.5]),
        ("identify", [{"path": path, **meta}, 0.5]),
        ("enroll", ["Eve", [{"path": path, **meta}], None]),
    ):
        refused = asker.join(question, data, "crafted")
        assert refused.status_code == 400 and "no file uploaded to this page" in refused.json()["detail"]


def test_paths_that_are_not_called_so_are_no_files(asker):
    """The answer is a fault that names nothing."""
    for data in (["/etc/passwd", "/etc/passwd", 0.5], [{"url": "file:///etc/passwd"}] * 2 + [0.5]):
        try:
            found = str(asker.ask("compare", *data))
        except AssertionError as error:
            found = str(error)
        assert "root:" not in found and "data-fact" not in found


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/monitoring",
        "/gradio_api/vibe-code/",
        "/gradio_api/dev/reload",
        "/gradio_api/run-history/buckets",
        "/docs",
        "/login",
    ],
)
def test_other_routes_are_closed(asker, path):
    found = requests.get(asker.address + path, timeout=60)
    assert found.status_code in (403, 404) and "root:" not in found.text


def test_other_sites_are_refused(asker):
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example:7860"}):
        assert requests.get(asker.address, headers=headers, timeout=60).status_code == 403
    found = requests.post(
        f"{asker.address}/gradio_api/queue/join", json={}, headers={"Origin": "http://evil.example"}, timeout=60
    )
    assert found.status_code == 403
    whole = requests.get(asker.address.replace("127.0.0.1", "localhost"), timeout=60)
    assert whole.status_code == 200 and "default-src 'self'" in whole.headers["content-security-policy"]
    assert "fonts.googleapis" not in whole.text


def test_too_large_uploads_are_refused(asker):
    for size, status in ((250_000, 413), (2_000_000, 413)):
        files = {"files": ("a.wav", bytes(size))}
        found = requests.post(f"{asker.address}/gradio_api/upload", files=files, timeout=60)
        assert found.status_code == status, size
    body = requests.post(f"{asker.address}/gradio_api/queue/join", data=b"[" * 1_100_000, timeout=60)
    assert body.status_code == 413
    deep = requests.post(f"{asker.address}/gradio_api/queue/join", data=b"[" * 500_000, timeout=60)
    assert deep.status_code == 400
    chunked = requests.post(f"{asker.address}/gradio_api/upload", data=iter([b"a", b"b"]), timeout=60)
    assert chunked.status_code == 411


def test_a_fault_leaves_the_server_at_work(asker, files, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF" + bytes(range(256)) * 9)
    bad, good = *asker.upload(tmp_path / "noise.wav"), *asker.upload(files[0])
    assert "noise.wav: " in asker.ask("compare", file_data(good), file_data(bad), 0.5)[0]
    assert score_in(asker.ask("compare", file_data(good), file_data(good), 0.5)[0]) == pytest.approx(1.0, abs=1e-4)


def test_rates_are_limited_and_uploads_deleted(recognizer, files):
    few = Limits(per_minute=3, kept_seconds=1.0)
    with serving(recognizer, recording_svg, limits=few, port=free_port()) as address:
        asker = Asker(address)
        (path,) = asker.upload(files[0])
        assert Path(path).is_file()
        end = time.monotonic() + 30
        while Path(path).exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not Path(path).exists()
        found = [asker.join("people", [], "many").status_code for _ in range(4)]
        assert found == [200, 200, 429, 429]
        folder = Path(path).parents[1]
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)


def test_a_taken_port_is_one_line(recognizer):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(InputError, match=f":{port} can't be served on"),
            serving(recognizer, recording_svg, port=port),
        ):
            pass


@pytest.mark.parametrize("host", ["256.1.1.1", "192.0.2.1", "a..b"])
def test_an_address_of_nobody_is_one_line(recognizer, host, capfd):
    with (
        pytest.raises(InputError, match=f"{host}:7860 and .* can't be served on"),
        serving(recognizer, recording_svg, host),
    ):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("dark, width", [(False, 1200), (True, 400)])
def test_in_a_browser(asker, recognizer, files, dark, width):
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium here")
    with Browser(program, (width, 1000), dark) as browser:
        browser.open(asker.address)
        for field, file in zip(("first", "second"), files, strict=True):
            browser.wait(f"document.querySelector('#{field} input[type=file]') !== null")
            browser.upload(f"#{field} input[type=file]", file)
            browser.wait(f"document.querySelector('#{field} .component-wrapper') !== null")
        browser.evaluate("document.querySelector('#compare').click()")
        shown = browser.wait("document.querySelector('#verdict [data-fact=score]')?.innerText")
        assert float(shown) == pytest.approx(recognizer.verify(*files).score, abs=1e-3)
        browser.wait("document.querySelectorAll('.recording svg').length === 2")
        colours = browser.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.said')).color]"
        )
        darkness = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in colours]
        assert (darkness[0] < 0.3 and darkness[1] > 0.7) if dark else (darkness[0] > 0.7 and darkness[1] < 0.3)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width  # nothing hangs out
        wide = browser.evaluate("[...document.querySelectorAll('.recording svg')].map(one => one.clientWidth)")
        assert min(wide) >= 280
        places = ("data:", f"blob:{asker.address}", asker.address)
        assert not [one for one in browser.requests if not one.startswith(places)]
        assert not browser.errors
