"""A function in two processes that talk over gloo, as two GPUs' processes do."""

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import torch


def on_ranks(folder: Path, function: Callable, argument: object) -> list:
    """What `function(rank, argument)` gives on ranks 0 and 1.

    Args:
        folder: where they meet.
        function: of a module; runs in a process that is no fork of this one, whose threads of autograd it would miss.
        argument: handed on as a copy.
    """
    context = multiprocessing.get_context("forkserver")
    results = context.Queue()
    work = pickle.dumps((function, argument))  # here, or else torch would share tensors between the ranks
    place = str(folder / "meet")
    ranks = [context.Process(target=_rank, args=(rank, place, work, results)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    found = dict(results.get(timeout=300) for _ in ranks)
    for rank in ranks:
        rank.join()
    return [found[0], found[1]]


def _rank(rank: int, place: str, work: bytes, results) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    function, argument = pickle.loads(work)
    results.put((rank, function(rank, argument)))
    torch.distributed.destroy_process_group()
