"""What a trial's run has left in its folder: measurements so far, the number of parameters, why it ended."""

import csv
import json
import signal
from collections.abc import Sequence
from pathlib import Path

METRICS = Path("metrics", "val_metrics.csv")
OUTPUT = Path("logs", "output.txt")  # what train.py printed
PARAMETERS = "parameters"
NO_MEMORY = ("out of memory", "allocate memory", "MemoryError")  # of CUDA, of torch's CPU allocator, of Python
LONGEST = 200  # characters of a reason
TAIL = 65536  # bytes of the output that are searched for the reason


def measured(run: Path) -> list[dict[str, float]]:
    """The rows of a run's development measurements, in order; a line that is being written is none yet."""
    path = run / METRICS
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        whole = [line for line in file if line.endswith("\n")]
    return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(whole)]


def values_of(run: Path, objectives: Sequence[str], directions: Sequence[str]) -> list[float]:
    """What a finished run is worth: metrics of its best epoch by the first of them, and its number of parameters.

    Raises:
        LookupError: if it measured nothing, or not that.
    """
    rows = measured(run)
    if not rows:
        raise LookupError("it ended without a development measurement")
    by, direction = next(pair for pair in zip(objectives, directions, strict=True) if pair[0] != PARAMETERS)
    absent = [name for name in objectives if name not in rows[0] and name != PARAMETERS]
    if absent:
        raise LookupError(f"it measured no {absent[0]} but {', '.join(rows[0])}")
    best = min(rows, key=lambda row: row[by] if direction == "minimize" else -row[by])
    facts = json.loads((run / "environment.json").read_text(encoding="utf-8")) if PARAMETERS in objectives else {}
    return [float(facts[PARAMETERS]) if name == PARAMETERS else best[name] for name in objectives]


def why_it_ended(run: Path, status: int) -> str:
    """One line on why `train.py` ended with this status: its own error, or the last thing that it said.

    Args:
        run: its folder.
        status: as `subprocess` gives it, negative for a signal.
    """
    path = run / OUTPUT
    lines = []
    if path.is_file():
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - TAIL, 0))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    memory = [line for line in lines if any(words in line for words in NO_MEMORY)]
    if own:
        reason = own[-1]
    elif memory:
        reason = f"out of memory: {memory[-1]}"
    elif status in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        reason = f"asked to stop by {signal.Signals(status - 128).name}"
    elif status == -signal.SIGKILL:
        reason = "killed from outside, as the system does when memory is short"
    elif status < 0:
        reason = f"ended by {signal.Signals(-status).name}"
    else:
        reason = lines[-1] if lines else f"ended with status {status} and said nothing"
    return reason if len(reason) <= LONGEST else reason[: LONGEST - 1] + "…"
