"""Real worker processes: all answers come, a crash costs one file, nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data.pool import Crash, work

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path) -> list[str]:
    for n in range(12):
        soundfile.write(tmp_path / f"{n}.wav", np.full(1000 + n, 0.1), 16000)
    return [str(tmp_path / f"{n}.wav") for n in range(12)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_answered_once(files, workers):
    answers = {task[1]: answer for task, answer in work((["examine", path] for path in files), workers)}
    assert [answers[path][0] for path in files] == list(range(1000, 1012))


def test_a_crash_costs_one_file(files, monkeypatch, tmp_path):
    """A worker that dies of one file: its answer says so, and the others are answered by a new process."""
    package = tmp_path / "patched"
    package.mkdir()
    (package / "sitecustomize.py").write_text(
        "import os, sys, signal\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('/5.wav'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "sys.addaudithook(watch)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    answers = {task[1]: answer for task, answer in work((["examine", path] for path in files), 2)}
    assert answers.pop(files[5]) == Crash("crashed the decoder (SIGSEGV)")
    assert len(answers) == 11 and all(answer[4] == "" for answer in answers.values())


def test_a_fault_of_this_program_is_shown():
    with pytest.raises(RuntimeError, match=r"a worker failed at \['examine'\]:(.|\n)*TypeError"):
        list(work([["examine"]], 1))


def test_a_full_disk_is_the_users(files, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="can't be written"):
        list(work([["convert", files[0], str(tmp_path / "out/a.flac"), "flac"]], 1))


def children(pid: int) -> set[int]:
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return {int(child) for text in lists for child in text.split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_die_with_their_parent(files):
    script = (
        "import itertools\nfrom speakerlab.data.pool import work\n"
        f"for _ in work(itertools.cycle([['examine', {files[0]!r}]]), 2): print('x', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    parent.stdout.readline()
    workers = children(parent.pid)
    assert workers
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    limit = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_an_abandoned_run_ends_its_workers(files):
    before = children(os.getpid())
    answers = work((["examine", path] for path in files * 50), 2)
    next(answers)
    assert children(os.getpid()) - before
    answers.close()
    assert children(os.getpid()) - before == set()
