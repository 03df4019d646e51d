"""Audio files, manifests, trial lists and the datasets made of them."""

import os
from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with what is done and what there is in all


def usable_cpus() -> int:
    """CPUs that this process may use, which in a container or a job may be fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
