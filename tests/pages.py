"""A page that is served, asked as a browser asks it."""

import itertools
import json
from pathlib import Path

import requests


class Asker:
    """One browser without a window.

    Args:
        address: of the page.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self._numbers = itertools.count()
        config = requests.get(f"{self.address}/config", timeout=60).json()
        self.questions = {one["api_name"]: one["id"] for one in config["dependencies"]}

    def upload(self, *files: Path) -> list[str]:
        """Paths on the server."""
        parts = [("files", (file.name, file.read_bytes())) for file in files]
        found = requests.post(f"{self.address}/gradio_api/upload", files=parts, timeout=60)
        assert found.status_code == 200, found.text
        return found.json()

    def join(self, question: str, data: list, session: str) -> requests.Response:
        body = {"data": data, "fn_index": self.questions[question], "session_hash": session}
        return requests.post(f"{self.address}/gradio_api/queue/join", json=body, timeout=60)

    def ask(self, question: str, *data: object) -> list:
        """What a button gives."""
        session = f"session{next(self._numbers)}"
        joined = self.join(question, list(data), session)
        assert joined.status_code == 200, joined.text
        address = f"{self.address}/gradio_api/queue/data?session_hash={session}"
        with requests.get(address, stream=True, timeout=60) as lines:
            for line in lines.iter_lines():
                event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if event.get("msg") == "process_completed":
                    assert event["success"], event
                    return event["output"]["data"]
        raise AssertionError("the server ended without an answer")


def file_data(path: str) -> dict:
    """What a browser says of a file."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
