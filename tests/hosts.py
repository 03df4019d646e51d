"""A download host on loopback: with ranges or without, behind a password, cutting connections."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Host:
    """What the host does, and what it was asked; both may be changed and read while it serves.

    Args:
        folder: whose files it serves by their names.
        ranges: whether it knows `Range`; without, it always sends the whole file.
        cut_after: bytes after which it drops the connection, for each of its next answers.
        login: "name:password" that it asks for.
        slow: bytes a second; None is as fast as it goes.
        failures: statuses of its next answers.
    """

    folder: Path
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    login: str | None = None
    slow: float | None = None
    failures: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)  # (name, its Range)
    logins: list[str] = field(default_factory=list)  # what came as Authorization with each
    sent: int = 0  # bytes of bodies
    url: str = ""


@contextmanager
def serve(folder: Path, **behaviour) -> Iterator[Host]:
    host = Host(folder, **behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, host)

        def log_message(self, *_) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_) -> None:
            """Clients that are killed are what this is for."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, host: Host) -> None:
    host.logins.append(request.headers.get("Authorization", ""))
    name, asked = request.path.lstrip("/"), request.headers.get("Range", "")
    host.asked.append((name, asked))
    status = host.failures.pop(0) if host.failures else 0
    if host.login and request.headers.get("Authorization") != f"Basic {base64.b64encode(host.login.encode()).decode()}":
        status = 401
    path = host.folder / name
    if not status and not path.is_file():
        status = 404
    if status:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    _send(request, host, path.read_bytes(), f'"{path.stat().st_mtime_ns:x}"', asked)


def _send(request: BaseHTTPRequestHandler, host: Host, body: bytes, tag: str, asked: str) -> None:
    size, start = len(body), 0
    if host.ranges and asked and request.headers.get("If-Range", tag) == tag:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= size and start:
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{size}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    if host.ranges:
        request.send_header("ETag", tag)
    request.send_header("Content-Length", str(size - start))
    request.end_headers()
    cut = host.cut_after.pop(0) if host.cut_after else size
    body = body[start : start + cut]
    step = max(1, round((host.slow or 0) * 0.02)) or len(body)
    for place in range(0, len(body), step if host.slow else max(len(body), 1)):
        chunk = body[place : place + step] if host.slow else body
        request.wfile.write(chunk)
        host.sent += len(chunk)
        if host.slow:
            threading.Event().wait(0.02)
    if start + cut < size:
        request.wfile.flush()
        request.connection.close()
        request.close_connection = True
