"""A function in two processes that talk over gloo, as two GPUs' processes do."""

from collections.abc import Callable
from pathlib import Path

import torch


def on_ranks(folder: Path, function: Callable, argument: object) -> list:
    """What `function(rank, argument)` gives on ranks 0 and 1.

    Args:
        folder: where they meet.
        function: runs in a forked process.
        argument: handed on.
    """
    context = torch.multiprocessing.get_context("fork")
    results = context.Queue()
    place = str(folder / "meet")
    ranks = [context.Process(target=_rank, args=(rank, place, function, argument, results)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    found = dict(results.get(timeout=60) for _ in ranks)
    for rank in ranks:
        rank.join()
    return [found[0], found[1]]


def _rank(rank: int, place: str, function: Callable, argument: object, results) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    results.put((rank, function(rank, argument)))
    torch.distributed.destroy_process_group()
