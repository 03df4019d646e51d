"""A process that examines and converts files as `pool.work` asks; see there. Keep its imports light."""

import json
import sys
import traceback
from contextlib import suppress
from typing import Any

from speakerlab import InputError
from speakerlab.data.prepare.convert import convert
from speakerlab.data.prepare.examine import examine


def answer(task: list[Any]) -> list[Any]:
    """`["examine", path]` or `["convert", source, target, format]` -> the `Facts` as a list."""
    action, *arguments = task
    return list(examine(*arguments) if action == "examine" else convert(*arguments))


def serve() -> None:
    """Answer the tasks on standard input until it ends."""
    for line in sys.stdin:
        try:
            reply: Any = answer(json.loads(line))
        except InputError as error:
            reply = {"kind": "input", "message": str(error)}
        except Exception:  # this program's fault: the parent shows it
            reply = {"kind": "fault", "message": traceback.format_exc()}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group; the parent reports it
        serve()
