"""A process that examines and converts files as `speakerlab.data.pool.work` asks. Keep its imports light."""

from typing import Any

from speakerlab.data.pool import serve
from speakerlab.data.prepare.convert import convert
from speakerlab.data.prepare.examine import examine


def answer(task: list[Any]) -> list[Any]:
    """`["examine", path]` or `["convert", source, target, format]` -> the `Facts` as a list."""
    action, *arguments = task
    return list(examine(*arguments) if action == "examine" else convert(*arguments))


if __name__ == "__main__":
    serve(answer)
