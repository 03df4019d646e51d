"""Real processes, killed for real."""

import signal
import subprocess
import sys
import time

import pytest
from holders import HOLDER, python

from speakerlab.sweeping.processes import hold, is_held, kill_group

SLEEP = "import time; time.sleep(60)"
PARENT = f"""
import os, subprocess, sys, time
from functools import partial
from speakerlab.sweeping.processes import die_with_parent
child = subprocess.Popen([sys.executable, "-c", "{SLEEP}"], preexec_fn=partial(die_with_parent, os.getpid()))
print(child.pid, flush=True)
time.sleep(60)
"""


def ends(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process is gone, or a zombie, before the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_a_child_dies_with_its_killed_parent():
    parent = python(PARENT)
    child = int(parent.stdout.readline())
    assert not ends(child, 0.2)
    parent.kill()
    parent.wait(timeout=20)  # and not for its output's end, since the child has that too
    assert ends(child)
    parent.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_a_child_whose_parent_has_ended_already_dies_at_once():
    source = "from speakerlab.sweeping.processes import die_with_parent; die_with_parent(1234567); print('alive')"
    child = python(source)
    assert child.communicate(timeout=60)[0] == "" and child.returncode == -signal.SIGKILL


def test_a_group_is_killed_whole_even_without_its_leader():
    source = f'import subprocess, sys; print(subprocess.Popen([sys.executable, "-c", "{SLEEP}"]).pid, flush=True)'
    leader = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, start_new_session=True)
    member = int(leader.stdout.readline())
    leader.wait(timeout=60)
    assert not ends(member, 0.2)
    kill_group(leader.pid)
    assert ends(member)
    kill_group(leader.pid)  # nobody is left, which is no error
    leader.stdout.close()


def test_a_lock_ends_with_its_holder(tmp_path):
    path = tmp_path / "locks" / "one"
    assert not is_held(path)
    holder = python(HOLDER, str(path))
    assert holder.stdout.readline() == "held\n"
    assert is_held(path)
    holder.kill()
    holder.communicate()
    assert path.is_file() and not is_held(path)
    hold(path).close()
