"""Processes that do not outlive whoever started them, and locks that end with their holder."""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

PR_SET_PDEATHSIG = 1
# Opened here: between fork and exec another thread's lock may be held for ever.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None) -> None:
    """In the child: be killed when the thread that started it ends, however that ends. Only Linux can.

    Args:
        parent: its number, if it may have ended already.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_group(leader: int) -> None:
    """SIGKILL to a process that leads its group, and to all in the group, if any of them still lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def hold(path: Path) -> TextIO:
    """Lock a file, which is made, until it is closed or this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115
    fcntl.lockf(file, fcntl.LOCK_EX)
    return file


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """The lock of `hold`, waited for, around a few statements."""
    with hold(path):
        yield


def is_held(path: Path) -> bool:
    """Whether another process holds the lock; False where there is no such file."""
    try:
        with open(path, "r+", encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
