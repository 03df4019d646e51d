"""What of this machine each worker's trials get."""

import os
import shutil
import subprocess
from typing import NamedTuple


class Share(NamedTuple):
    """Of one worker: for `CUDA_VISIBLE_DEVICES`, where None leaves it as it is; and threads of the CPU for each process
    of a trial, where None leaves it to `train.py`."""

    gpus: str | None
    threads: int | None


def shares(workers: int, gpus: list[str], per_trial: int | None, cpus: int) -> list[Share]:
    """Divide the machine: whole GPUs as far as they go, and the CPUs evenly.

    Args:
        workers: that run at once.
        gpus: that may be used; none where trials run on the CPU.
        per_trial: GPUs, or processes, of a trial; None is as many as there are for each.
        cpus: that may be used.

    >>> [share.gpus for share in shares(3, ["0", "1"], 1, 8)]
    ['0', '1', '0']
    >>> [share.gpus for share in shares(2, ["0", "1", "2", "3"], None, 8)]
    ['0,1', '2,3']
    """
    each = per_trial or max(len(gpus) // workers, 1)
    threads = None if workers == 1 else max(cpus // workers // (1 if gpus else each), 1)
    if workers == 1 or not gpus:
        return [Share(None, threads)] * workers
    return [
        Share(",".join(gpus[(worker * each + place) % len(gpus)] for place in range(min(each, len(gpus)))), threads)
        for worker in range(workers)
    ]


def visible_gpus() -> list[str]:
    """NVIDIA's GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` calls them; found without importing torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() and name.strip() != "-1"]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal()]
