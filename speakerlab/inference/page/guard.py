"""What the server answers at all: a filter before Gradio, which can do far more than this page needs.

Unknown routes, other hosts' names (a page elsewhere that resolves its name to this machine), bodies that are too large,
too many requests, and paths of files that were not uploaded are refused before anything is done about them.
"""

import json
import re
import time
from collections import deque
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speakerlab.inference.page.limits import MEGABYTE, Limits
from speakerlab.inference.page.uploads import Uploads

API = "/gradio_api"
ASK, UPLOAD = f"{API}/queue/join", f"{API}/upload"
READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?)/?|/(assets|static|svelte)/.*|"
    rf"{API}/(info|app_id|theme\.css|startup-events|queue/data|upload_progress|heartbeat/\w+|file=.*)/?"
)
WRITE = re.compile(rf"{API}/(queue/join|upload|cancel|reset)/?")
LARGEST_QUESTION = MEGABYTE
MOST_ADDRESSES = 10_000
# Nothing from another place, whatever the page's own program asks for.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}


class Refused(Exception):
    """A request that gets `status` and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Guard:
    """The filter, around an ASGI application.

    Args:
        app: what it is around.
        uploads: that paths must be of.
        limits: on sizes and rates.
        hosts: names under which the page may be asked for; none is any.
    """

    def __init__(self, app: ASGIApp, uploads: Uploads, limits: Limits, hosts: tuple[str, ...] = ()):
        self.app, self.uploads, self.limits, self.hosts = app, uploads, limits, hosts
        self._asked: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # the page has no web sockets
        try:
            self._check(scope)
            if scope["method"] == "POST" and scope["path"].rstrip("/") != UPLOAD:
                receive = await self._checked_body(receive)
        except Refused as refused:
            line = str(refused)
            response: Response = JSONResponse({"detail": line, "error": line}, refused.status)
            await response(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    def _check(self, scope: Scope) -> None:
        """Refuse by the address, the method and the headers alone."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else "[::1]"
        if self.hosts and host.lower() not in self.hosts:
            raise Refused(403, "this page is for this machine alone")
        if not (WRITE if method == "POST" else READ).fullmatch(path) or method not in ("GET", "HEAD", "POST"):
            raise Refused(404, "there is no such page")
        if method != "POST":
            return
        origin = headers.get("origin")
        if origin not in (None, f"http://{headers.get('host')}", f"https://{headers.get('host')}"):
            raise Refused(403, "another site may not ask this page")
        length = headers.get("content-length", "")
        if not length.isdigit() or len(length) > 15:
            raise Refused(411, "the request does not say how long it is")
        self._check_size(path.rstrip("/") == UPLOAD, int(length))
        if path.rstrip("/") in (ASK, UPLOAD):
            self._check_rate((scope.get("client") or ("?", 0))[0])

    def _check_size(self, upload: bool, size: int) -> None:
        megabytes = self.limits.megabytes
        if not upload:
            if size > LARGEST_QUESTION:
                raise Refused(413, "the request is too large")
        elif size > megabytes * MEGABYTE * self.limits.files + MEGABYTE:
            raise Refused(413, f"too much at once: a file may have {megabytes:g} MB")
        elif not self.uploads.room(size):
            raise Refused(503, "too much is uploaded at the moment; try again in some minutes")

    def _check_rate(self, address: str) -> None:
        now = time.monotonic()
        if len(self._asked) > MOST_ADDRESSES:
            self._asked = {one: times for one, times in self._asked.items() if times and now - times[-1] < 60.0}
        times = self._asked.setdefault(address, deque())
        while times and now - times[0] >= 60.0:
            times.popleft()
        if len(times) >= self.limits.per_minute:
            raise Refused(429, f"more than {self.limits.per_minute} requests in a minute; wait a little")
        times.append(now)

    async def _checked_body(self, receive: Receive) -> Receive:
        """The request's body, once no path in it leads anywhere but to uploaded files."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused(400, "the request broke off")
            body, more = body + message.get("body", b""), message.get("more_body", False)
        try:
            contents = json.loads(body) if body else None
        except (ValueError, RecursionError) as error:
            raise Refused(400, "the request is no JSON") from error
        for path in paths_in(contents):
            if not self.uploads.holds(path):
                raise Refused(
                    400, "that is no file uploaded to this page, or it was deleted meanwhile: upload it again"
                )
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()  # the end of the connection
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again


def paths_in(contents: Any) -> list[Any]:
    """Everything that a request calls a path.

    >>> paths_in({"data": [{"path": "/a", "url": "/gradio_api/file=/a"}, ["b", {"c": {"path": 7}}]]})
    ['/a', 7]
    """
    found, waiting = [], [contents]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, dict):
            found += [one["path"]] if "path" in one else []
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sent
