"""A process that reads recordings as `speakerlab.data.pool.work` asks. Keep its imports light."""

from typing import Any

import numpy as np

from speakerlab.data.audio import AudioError
from speakerlab.data.pool import serve
from speakerlab.inference.hearing import Heard, hear


def answer(task: list[Any]) -> list[Any] | tuple[list[Any], bytes]:
    """`[path, sample rate]` -> seconds, notes and the samples' bytes; or `[reason]` of a file that can't be used."""
    path, sample_rate = task[:2]
    try:
        heard = hear(path, None, sample_rate)
    except AudioError as error:
        return [error.reason]
    except MemoryError:
        return ["does not fit into memory"]
    return [heard.seconds, list(heard.notes)], heard.waveform.tobytes()


def heard_of(reply: list[Any]) -> Heard | str:
    """What `answer` said: a recording, or what is wrong with it."""
    if len(reply) == 1:
        return reply[0]
    seconds, notes, content = reply
    return Heard(np.frombuffer(content, np.float32), seconds, tuple(notes))


if __name__ == "__main__":
    serve(answer)
