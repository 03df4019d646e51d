"""A progress bar for long work: scanning, synthesis, downloads, conversion."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

EVERY = 30.0  # seconds between lines where there is no terminal; quicker work says nothing


@contextmanager
def progress_bar(
    description: str, unit: str = "files", stream: TextIO | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Gives a function (done, total) that moves the bar, from any thread.

    In a terminal the bar appears with the first call and shows the rate and the time left; elsewhere a line tells them
    now and then.

    Args:
        description: of the work.
        unit: "bytes" are shown as MB and GB, everything else as a number.
        stream: where to; None is standard output.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        yield _Lines(description, unit, stream).move
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    amount = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), Rate())
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn())
    with Progress(*columns, transient=True, console=Console(file=stream)) as bar:
        task = None

        def move(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(description, total=total or None)
            bar.update(task, completed=done, total=total or None)

        yield move


class _Lines:
    """Writes `description: done of total, rate, time left`, at most one line every `EVERY` seconds."""

    def __init__(self, description: str, unit: str, stream: TextIO):
        self.description, self.unit, self.stream, self.lock = description, unit, stream, threading.Lock()
        self.began = self.said = time.monotonic()
        self.first: int | None = None  # done before this run, which does not count for the rate

    def move(self, done: int, total: int) -> None:
        now = time.monotonic()
        with self.lock:
            self.first = done if self.first is None else self.first
            if now - self.said < EVERY:
                return
            self.said = now
            line = progress_line(self.description, self.unit, done, total, done - self.first, now - self.began)
            print(line, file=self.stream, flush=True)


def progress_line(description: str, unit: str, done: int, total: int, fresh: int, seconds: float) -> str:
    """One line of progress; `fresh` of `done` came in the last `seconds`.

    >>> progress_line("download", "bytes", 4_000_000_000, 10_000_000_000, 2_000_000_000, 100.0)
    'download: 4.0 of 10.0 GB, 20.0 MB/s, 5 min left'
    >>> progress_line("convert", "files", 300, 1000, 300, 60.0)
    'convert: 300 of 1,000, 5/s, 2 min left'
    """
    rate = fresh / seconds if seconds else 0.0
    if unit == "bytes":
        of = f" of {total / 1e9:,.1f}" if total else ""
        amount, pace = f"{done / 1e9:,.1f}{of} GB", f"{rate / 1e6:,.1f} MB/s"
    else:
        amount, pace = f"{done:,}{f' of {total:,}' if total else ''}", f"{rate:,.0f}/s"
    if not (total and rate):
        return f"{description}: {amount}, {pace}"
    minutes = (total - done) / rate / 60
    left = f"{minutes / 60:,.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
    return f"{description}: {amount}, {pace}, {left} left"
