"""Audio files, manifests, trial lists and the datasets made of them."""

import os
from collections.abc import Callable

from speakerlab import InputError

Progress = Callable[[int, int], None]  # called with what is done and what there is in all
MOST_WORKERS = 32  # processes a CPU; slow network disks want several


def usable_cpus() -> int:
    """CPUs that this process may use, which in a container or a job may be fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int) -> None:
    """InputError for a `--workers` of no process, or of more than a machine starts."""
    most = MOST_WORKERS * usable_cpus()
    if not 1 <= workers <= most:
        raise InputError(f"--workers {workers}: must be at least 1 and at most {most} ({MOST_WORKERS} a processor)")
