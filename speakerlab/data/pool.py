"""Work on files in processes of their own: a file that crashes a decoder costs that file and no more.

Workers are plain subprocesses, one JSON line a task and one an answer, which bytes may follow. They end with their
input, so that a killed parent leaves none behind, nothing is forked that holds threads, and a script that starts them
needs no guard.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from speakerlab import InputError

AHEAD = 64  # answers that may wait


class Crash(NamedTuple):
    """In place of an answer: the process died at this task."""

    how: str


def work(
    tasks: Iterable[list[Any]], workers: int, module: str = "speakerlab.data.prepare.worker", ahead: int = AHEAD
) -> Iterator[tuple[list[Any], list[Any] | Crash]]:
    """Each task with its answer, in the order in which they are done.

    Args:
        tasks: plain values; taken when a worker is free, but not far ahead of what is asked for.
        workers: processes.
        module: that each runs; it calls `serve`.
        ahead: answers that may wait to be asked for.

    Raises:
        InputError: if a worker could not write its file.
        RuntimeError: with the worker's traceback, if its own code failed.
    """
    pending, lock, stop = iter(tasks), threading.Lock(), threading.Event()
    answers: queue.Queue[tuple[list[Any] | None, Any]] = queue.Queue(ahead)

    def feed() -> None:
        process = None
        try:
            while not stop.is_set():
                with lock:
                    task = next(pending, None)
                if task is None:
                    break
                process = process or _start(module)
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

    threads = [threading.Thread(target=feed, daemon=True) for _ in range(workers)]
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


def serve(answer: Callable[[list[Any]], list[Any] | tuple[list[Any], bytes]]) -> None:
    """In a worker: answer the tasks on standard input until it ends.

    Args:
        answer: task -> plain values, and bytes that follow them if it likes. Its InputErrors are the parent's.
    """
    replies = sys.stdout.buffer
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group; the parent reports it
        for line in sys.stdin.buffer:
            content = b""
            try:
                reply: Any = answer(json.loads(line))
                if isinstance(reply, tuple):
                    values, content = reply
                    reply = {"kind": "bytes", "values": values, "bytes": len(content)}
            except InputError as error:
                reply = {"kind": "input", "message": str(error)}
            except Exception:  # this program's fault: the parent shows it
                reply = {"kind": "fault", "message": traceback.format_exc()}
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.write(content)
            replies.flush()


def _start(module: str) -> subprocess.Popen:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread each: the workers are the parallelism. Decoders' own chatter is not for the user.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-m", module], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)


def _ask(process: subprocess.Popen, task: list[Any]) -> list[Any] | Crash:
    answer, content, wanted = b"", b"", 0
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    decoded = json.loads(answer) if answer.endswith(b"\n") else None
    if isinstance(decoded, dict) and decoded["kind"] == "bytes":
        wanted = decoded["bytes"]
        content, decoded = process.stdout.read(wanted), decoded["values"]
    if decoded is None or len(content) < wanted:
        _end(process)
        if process.returncode >= 0:
            raise RuntimeError(f"a worker ended with status {process.returncode} at {task}")
        return Crash(f"crashed the decoder ({signal.Signals(-process.returncode).name})")
    if isinstance(decoded, list):
        return [*decoded, content] if wanted else decoded
    if decoded["kind"] == "input":
        raise InputError(decoded["message"])
    raise RuntimeError(f"a worker failed at {task}:\n{decoded['message']}")


def _end(process: subprocess.Popen) -> None:
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    process.wait()
