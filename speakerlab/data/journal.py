"""What is done, one JSON line a thing, appended as it is done: a kill costs at most the line that it cuts."""

import json
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Remembers a list of plain values for each key.

    Args:
        path: the file; made, with its folder, by the first `add`. A later line of a key replaces the earlier one.
    """

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, list[Any]] = {}
        self._file = None
        self._torn = False
        self._lock = threading.Lock()
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            self._torn = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            key, *values = json.loads(line)
        except ValueError:
            return  # cut by a kill
        self.known[key] = values

    def get(self, key: str) -> list[Any] | None:
        return self.known.get(key)

    def add(self, key: str, *values: Any) -> None:
        """Remember, on disk before this returns (safe from a kill, not from a power cut)."""
        with self._lock:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
                if self._torn:
                    self._file.write("\n")
            self._file.write(json.dumps([key, *values]) + "\n")
            self.known[key] = list(values)
