"""A network over whole utterances in batches of similar length: in this process, or in one for each device."""

import multiprocessing
import pickle
import queue
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from speakerlab import InputError
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.utterances import pad_utterances
from speakerlab.network import embed_batches

PATIENCE = 1.0  # seconds between two looks at whether the other processes live


def embed_share(
    network: nn.Module,
    utterances: Dataset,
    seconds: np.ndarray,
    device: torch.device,
    num_workers: int,
    share: int = 0,
    shares: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batch after batch, which utterances it holds `(batch,)` and their embeddings `(batch, embed_dim)`.

    Args:
        network: waveforms and lengths -> embeddings; moved to `device`.
        utterances: items `(index, (samples,))`; see `speakerlab.data.utterances`.
        seconds: `(utterances,)` their durations.
        device: where to embed.
        num_workers: processes that read audio.
        share, shares: every `shares`-th batch is taken, beginning with the one of number `share`.
    """
    batches = LengthBatches(seconds, rank=share, world_size=shares)
    loader = DataLoader(utterances, batch_sampler=batches, collate_fn=pad_utterances, num_workers=num_workers)
    network = network.to(device)
    for batch in loader:
        indices, rows = embed_batches(network, [batch], device)
        yield indices.cpu().numpy(), rows.cpu().numpy()


def embed_in_processes(
    network: nn.Module, utterances: Dataset, seconds: np.ndarray, devices: list[torch.device], num_workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `embed_share`, all shares, each in a process of its own: the same batches, and so the same rows.

    Args:
        network: as in `embed_share`; every process has a copy.
        utterances, seconds: as in `embed_share`.
        devices: one a process.
        num_workers: processes that read audio, for each device.

    Raises:
        InputError: if a file can't be read.
        RuntimeError: if a process failed or was killed.
    """
    context = multiprocessing.get_context("spawn")  # a forked process can't use CUDA
    answers = context.Queue()
    # Pickled here: torch's own way over shared memory fails where that is small, as in containers.
    work = pickle.dumps((network.cpu(), utterances, seconds))
    threads = max(1, torch.get_num_threads() // len(devices))
    processes = [
        context.Process(target=_serve, args=(answers, work, str(device), num_workers, threads, share, len(devices)))
        for share, device in enumerate(devices)
    ]
    try:
        for process in processes:
            process.start()
        left = len(processes)
        while left:
            answer = _next(answers, processes)
            if answer is None:
                left -= 1
            elif isinstance(answer, Exception):
                raise answer
            else:
                yield answer
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _next(answers: Any, processes: list) -> Any:
    """The next answer of any process.

    Raises:
        RuntimeError: if one of them was killed.
    """
    while True:
        try:
            return answers.get(timeout=PATIENCE)
        except queue.Empty:
            dead = [process.exitcode for process in processes if process.exitcode]
            if dead:
                raise RuntimeError(f"a process that embeds ended with status {dead[0]}, perhaps for memory") from None


def _serve(answers: Any, work: bytes, device: str, num_workers: int, threads: int, share: int, shares: int) -> None:
    """In a process: answer with the batches of a share, then None; or with what went wrong."""
    try:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        network, utterances, seconds = pickle.loads(work)
        for answer in embed_share(network, utterances, seconds, torch.device(device), num_workers, share, shares):
            if not multiprocessing.parent_process().is_alive():
                return
            answers.put(answer)
        answers.put(None)
    except InputError as error:
        answers.put(InputError(str(error)))
    except Exception:
        answers.put(RuntimeError(f"embedding on {device} failed:\n{traceback.format_exc()}"))
