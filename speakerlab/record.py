"""What a run writes about itself: versions, and a text log that can be read alone."""

import logging
import os
import platform
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import speakerlab

LIBRARIES = ("torch", "torchaudio", "pytorch-lightning", "hydra-core", "omegaconf", "optuna", "numpy", "soundfile")
FILE_ONLY = logging.DEBUG  # the console's level is higher
log = logging.getLogger("speakerlab")


def environment() -> dict[str, object]:
    """Versions, machine and git state, for whoever wants to repeat the run."""
    return {
        "speakerlab": speakerlab.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "git": _git_state(),
        "started": datetime.now().isoformat(timespec="seconds"),
    }


def log_path(run: Path, name: str) -> Path:
    """Where a run's folder has the log of a training or an evaluation."""
    return run / "logs" / f"{name}.log"


@contextmanager
def text_log(path: Path) -> Iterator[None]:
    """All that this program logs within, and the warnings of libraries, is added to a file with its time: first the
    command and the versions, last how long it took, or why it ended.

    Args:
        path: its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    shown, began = warnings.showwarning, time.monotonic()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        shown(message, category, filename, lineno, file, line)
        log.log(FILE_ONLY, f"warning: {category.__name__}: {message}")

    warnings.showwarning = show
    try:
        for line in _beginning():
            log.log(FILE_ONLY, line)
        yield
        log.log(FILE_ONLY, f"finished after {time.monotonic() - began:,.1f} s")
    except BaseException as error:
        log.log(FILE_ONLY, f"ended after {time.monotonic() - began:,.1f} s: {str(error) or type(error).__name__}")
        raise
    finally:
        warnings.showwarning = shown
        log.removeHandler(handler)
        handler.close()


def _beginning() -> Iterator[str]:
    """The command, and what it runs with."""
    yield shlex.join(["python", *sys.argv])
    facts = environment()
    git = facts["git"]
    commit = f" ({git['commit'][:12]}{', changed' if git['changed'] else ''})" if git else ""
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items() if number)
    yield f"speakerlab {facts['speakerlab']}{commit}, Python {facts['python']}, {libraries}"
    yield f"{facts['platform']}, {facts['cpus']} CPUs, in {os.getcwd()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, object] | None:
    """Commit of this program's checkout and whether it has changes; None outside a checkout."""

    def git(*arguments: str) -> str:
        folder = Path(speakerlab.__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
