"""How the processes that read and augment are started."""

import multiprocessing
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from speakerlab.training.hardware import prepare_cpu

# Imported once, by the process that the workers are forked from. Nothing of speakerlab: that process does not know
# where the running script found it (python/cpython#117378), and might import one that is installed elsewhere.
NEEDED = ["torch.utils.data", "pyarrow.parquet", "scipy.signal", "soundfile", "threadpoolctl"]


def worker_options(workers: int, processes: int) -> dict[str, Any]:
    """Arguments of a `DataLoader`.

    A worker forked from a process in which other threads run inherits the locks that these hold, and may wait for one
    for ever: before 3.11.10, CPython itself takes one in the child (python/cpython#112275), which the threads of gloo
    and NCCL hold whenever they first call Python, and those that pin memory hold the C library's
    (pytorch/pytorch#130610). There, workers are forked from a server without threads. Otherwise the fork is a second
    or two faster.

    Args:
        workers: of this loader; 0 reads in the training process.
        processes: that train together.
    """
    if workers == 0:
        return {}
    options: dict[str, Any] = {"num_workers": workers, "worker_init_fn": prepare_worker}
    if processes > 1 or torch.cuda.is_available():
        options["multiprocessing_context"] = multiprocessing.get_context("forkserver")
        options["multiprocessing_context"].set_forkserver_preload(NEEDED)
    return options


def prepare_worker(worker: int) -> None:
    """A data worker's `worker_init_fn`: arithmetic and allocator as in the training process, and one thread, since as
    many workers as cores must not start as many threads each.

    Torch sees to its own; the BLAS libraries of NumPy and SciPy would take every core.
    """
    prepare_cpu(None)
    threadpool_limits(1)
