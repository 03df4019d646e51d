"""Work on files in processes of their own: a file that crashes a decoder costs that file and no more.

Workers are plain subprocesses, one JSON line a task and one an answer. They end with their input, so that a killed
parent leaves none behind, and nothing is forked that holds threads.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from speakerlab import InputError

AHEAD = 64  # answers that may wait


class Crash(NamedTuple):
    """In place of an answer: the process died at this task."""

    how: str


def work(tasks: Iterable[list[Any]], workers: int) -> Iterator[tuple[list[Any], list[Any] | Crash]]:
    """Each task with its answer by `speakerlab.data.prepare.worker`, in the order in which they are done.

    Raises:
        InputError: if a worker could not write its file.
        RuntimeError: with the worker's traceback, if its own code failed.
    """
    pending, lock, stop = iter(tasks), threading.Lock(), threading.Event()
    answers: queue.Queue[tuple[list[Any] | None, Any]] = queue.Queue(AHEAD)

    def serve() -> None:
        process = None
        try:
            while not stop.is_set():
                with lock:
                    task = next(pending, None)
                if task is None:
                    break
                process = process or _start()
                answer = _ask(process, task)
                if isinstance(answer, Crash):
                    process = None
                _put(answers, (task, answer), stop)
        except BaseException as error:  # shown by the main thread
            _put(answers, (None, error), stop)
        finally:
            if process is not None:
                _end(process)
            _put(answers, (None, None), stop)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield from _until_done(answers, workers)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _until_done(answers: queue.Queue, workers: int) -> Iterator[tuple[list[Any], list[Any] | Crash]]:
    running = workers
    while running:
        task, answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        if task is None:
            running -= 1
        else:
            yield task, answer


def _put(answers: queue.Queue, item: tuple, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(queue.Full):
            answers.put(item, timeout=0.2)
            return


def _start() -> subprocess.Popen:
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread each: the workers are the parallelism. Decoders' own chatter is not for the user.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "speakerlab.data.prepare.worker"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)


def _ask(process: subprocess.Popen, task: list[Any]) -> list[Any] | Crash:
    answer = ""
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    if not answer.endswith("\n"):
        _end(process)
        if process.returncode >= 0:
            raise RuntimeError(f"a worker ended with status {process.returncode} at {task}")
        return Crash(f"crashed the decoder ({signal.Signals(-process.returncode).name})")
    decoded = json.loads(answer)
    if isinstance(decoded, list):
        return decoded
    if decoded["kind"] == "input":
        raise InputError(decoded["message"])
    raise RuntimeError(f"a worker failed at {task}:\n{decoded['message']}")


def _end(process: subprocess.Popen) -> None:
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
