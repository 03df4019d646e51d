"""What a script came to, left in a file for whoever started it: a sweep can't see what its process returned."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from speakerlab.ranks import rank

VARIABLE = "SPEAKERLAB_OUTCOME"  # the file's path, in the environment of the script's process
FILE = "outcome.json"  # its name in a member's folder


class Outcome(NamedTuple):
    """A number, or a list of them where there are several objectives; or the line that says why there is none."""

    value: float | list[float] | None = None
    error: str | None = None


def leave_outcome(outcome: Outcome) -> None:
    """Write it where the environment says, if it does; of several processes that train together, the first does."""
    if VARIABLE in os.environ and rank() == 0:
        write_outcome(Path(os.environ[VARIABLE]), outcome)


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Whole or not at all."""
    from speakerlab.data.manifest import replacing  # late: it imports Arrow, which `--help` does without

    with replacing(path) as draft:
        draft.write_text(json.dumps(outcome._asdict()) + "\n", encoding="utf-8")


def read_outcome(path: Path) -> Outcome | None:
    """What a process has left; None if it never came to an end, or left something else."""
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
