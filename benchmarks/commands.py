"""What benchmarks of the `speakerlab` command share: running it, and the line about where that was."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version

from speakerlab.record import environment

SPEAKERLAB = [sys.executable, "-m", "speakerlab.cli.main"]
SAME, ANOTHER = 0, 3  # exit statuses of verify and identify


def ask(*arguments: object, statuses: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess:
    """Run a command of this program, which is printed; what it answers."""
    command = [str(argument) for argument in arguments]
    print("speakerlab", shlex.join(command), flush=True)
    found = subprocess.run([*SPEAKERLAB, *command], capture_output=True, text=True)
    if found.returncode not in statuses:
        raise SystemExit(f"exit status {found.returncode}: {found.stderr}")
    return found


def machine(packages: tuple[str, ...]) -> str:
    """Where, on which commit and with which versions of `packages`."""
    facts = environment()
    git = facts["git"] or {"commit": "unknown", "changed": False}
    changed = ", changed" if git["changed"] else ""
    libraries = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Machine: {facts['platform']}, {os.cpu_count()} CPUs. Commit {git['commit']}{changed}. "
        f"Python {facts['python']}, {libraries}."
    )
