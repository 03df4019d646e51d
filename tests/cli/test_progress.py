"""What long work says where nobody watches a terminal, and in one."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from speakerlab.cli import progress
from speakerlab.cli.progress import progress_bar, progress_line

ROOT = Path(__file__).parents[2]


def test_quick_work_says_nothing(capsys):
    with progress_bar("scan") as move:
        for done in range(100):
            move(done, 100)
    assert capsys.readouterr().out == ""


def test_a_line_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress_bar("download", "bytes") as move:
        for second in range(0, 101):
            clock[0] = float(second)
            move(2_000_000_000 + second * 50_000_000, 10_000_000_000)  # 2 GB were there before
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "download: 3.5 of 10.0 GB, 50.0 MB/s, 2 min left",
        "download: 5.0 of 10.0 GB, 50.0 MB/s, 2 min left",
        "download: 6.5 of 10.0 GB, 50.0 MB/s, 1 min left",
    ]


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("check", "files", 5000, 1_000_000, 5000, 50.0), "check: 5,000 of 1,000,000, 100/s, 2.8 h left"),
        (("get", "bytes", 3_000_000_000, 0, 3_000_000_000, 60.0), "get: 3.0 GB, 50.0 MB/s"),
        (("check", "files", 7, 9, 0, 60.0), "check: 7 of 9, 0/s"),
    ],
)
def test_lines(arguments, line):
    assert progress_line(*arguments) == line


@pytest.mark.parametrize("unit, shown", [("files", r"3/10 +\d+/s"), ("bytes", r"3/10 bytes +\d")])
def test_a_terminal_shows_the_rate(unit, shown):
    script = (
        "import time\nfrom speakerlab.cli.progress import progress_bar\n"
        f"with progress_bar('work', {unit!r}) as move:\n"
        "    for done in range(4):\n        move(done, 10)\n        time.sleep(0.25)\n"
    )
    own, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=other, stderr=other, env=environment)
    os.close(other)
    text = b""
    while True:
        try:
            chunk = os.read(own, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        text += chunk
    process.wait()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    assert "work" in plain and re.search(shown, plain), plain
