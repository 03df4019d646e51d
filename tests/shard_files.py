"""Short recordings that differ, WeSpeaker's shards of them, and a web server on loopback whose faults can be set."""

import http.server
import io
import tarfile
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from speakerlab.data.manifest import as_manifest
from speakerlab.data.shards.packing import Packing

RATE = 16000


def write_noise(path: Path, number: int, seconds: float = 0.3, rate: int = RATE) -> int:
    """Noise of its own for each number, exact in 16 bits; returns its samples."""
    samples = round(seconds * rate) + number
    noise = np.random.default_rng(number).integers(-20000, 20000, samples).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise, rate)
    return samples


def make_manifest(root: Path, speakers: int, utterances: int, suffix: str = "wav") -> pa.Table:
    """`speakers` x `utterances` files `s<i>/<j>.<suffix>` and their manifest."""
    names = [f"s{i}/{j}.{suffix}" for i in range(speakers) for j in range(utterances)]
    samples = [write_noise(root / name, number) for number, name in enumerate(names)]
    columns = {
        "utterance": names,
        "speaker": [name.split("/")[0] for name in names],
        "session": [""] * len(names),
        "root": [str(root)] * len(names),
        "path": names,
        "first_sample": [0] * len(names),
        "samples": samples,
        "sample_rate": [RATE] * len(names),
        "split": ["dev" if name.startswith("s0/") else "" for name in names],
        "gender": ["f" if name.startswith("s1/") else "m" for name in names],
        "language": ["da"] * len(names),
    }
    return as_manifest(pa.table(columns), "test")


def packing(**changes) -> Packing:
    given = {
        "audio_format": "flac",
        "shard_items": 7,
        "shard_bytes": 10**9,
        "seed": 1,
        "max_bad_share": 0.0,
        "workers": 1,
    }
    return Packing(**given | changes)


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_wespeaker(folder: Path, table: pa.Table, items: int) -> list[Path]:
    """Shards as WeSpeaker's make_shard_list.py writes them: `KEY.spk`, then `KEY.wav`; a key ends in .wav itself."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, paths = table.to_pylist(), []
    for number, first in enumerate(range(0, len(rows), items)):
        members = []
        for row in rows[first : first + items]:
            audio = Path(row["root"], row["path"]).read_bytes()
            members += [(f"{row['path']}.spk", row["speaker"].encode()), (f"{row['path']}.wav", audio)]
        paths.append(folder / f"shards_{number:09d}.tar")
        write_tar(paths[-1], members)
    return paths


class Server:
    """A folder on `url`.

    Attributes:
        requests: method, path and Range of each request.
        breaks: how many GETs are still to be broken off after `break_after` bytes.
        statuses: answered to the next requests, one each, in place of the file.
        ranges: whether the server knows them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.requests: list[tuple[str, str, str | None]] = []
        self.breaks = 0
        self.break_after = 1000
        self.statuses: list[int] = []
        self.ranges = True
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append((handler.command, handler.path, handler.headers["Range"]))
        path = self.folder / urllib.parse.unquote(handler.path).lstrip("/")
        if self.statuses or not path.is_file():
            handler.send_response(self.statuses.pop(0) if self.statuses else 404)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        data = path.read_bytes()
        first = 0
        if self.ranges and handler.headers["Range"]:
            first = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(data) - first))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if self.breaks:
            self.breaks -= 1
            data = data[: first + self.break_after]
            handler.close_connection = True
        handler.wfile.write(data[first:])

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
