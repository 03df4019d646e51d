"""Bytes of a shard, from a file or a web server.

WebDataset's own openers start `curl`, which can't go on with a transfer that broke off, and run any address that
begins with `pipe:` as a shell command. Here an address is a path or http(s), and a broken transfer goes on where it
stopped.
"""

import http.client
import io
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import BinaryIO

from speakerlab import InputError

TIMEOUT = 60.0  # seconds without a byte
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before the second try, the third ...
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that a later try may not meet
BUFFER = 1 << 20  # bytes


def is_url(address: str) -> bool:
    """Whether it is on a web server; anything else is a path."""
    return address.startswith(("http://", "https://"))


def open_address(address: str) -> BinaryIO:
    """A stream of its bytes.

    Raises:
        InputError: if it is not there, or a server does not answer.
    """
    if is_url(address):
        return io.BufferedReader(HttpFile(address), BUFFER)
    try:
        return open(address, "rb")
    except OSError as error:
        raise InputError(f"{address}: can't be opened ({error.strerror})") from error


def read_address(address: str) -> bytes:
    """All bytes of a small file; errors as `open_address`."""
    with open_address(address) as file:
        return file.read()


def size_of(address: str) -> int | None:
    """Bytes; -1 if a server does not say, None if there is no such file.

    Raises:
        InputError: if a server does not answer.
    """
    if not is_url(address):
        return os.path.getsize(address) if os.path.isfile(address) else None
    try:
        with _request(address, "HEAD", 0) as response:
            return int(response.headers.get("Content-Length", -1))
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        if error.code in (405, 501):  # a server without HEAD
            return -1
        raise InputError(f"{address}: the server answers {error.code} ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{address}: the server does not answer ({error})") from error


def joined(root: str, name: str) -> str:
    """Address of a file in a folder or below a URL."""
    if is_url(name) or os.path.isabs(name):
        return name
    return f"{root.rstrip('/')}/{urllib.parse.quote(name)}" if is_url(root) else os.path.join(root, name)


class HttpFile(io.RawIOBase):
    """A file on a web server, read forwards; after a fault it is asked for from the byte where it broke off.

    Raises:
        InputError: naming the address, if it is not there or breaks off `len(WAITS) + 1` times at one byte.
    """

    def __init__(self, address: str):
        self.address = address
        self.position = 0
        self.length: int | None = None  # of the file, where the server says it
        self.response: http.client.HTTPResponse | None = None
        self._retried(self._connect)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        count = self._retried(lambda: self._read(buffer))
        self.position += count
        return count

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        super().close()

    def _connect(self) -> None:
        response = _request(self.address, "GET", self.position)
        length = response.headers.get("Content-Length")
        skipped = self.position if response.status == 206 else 0
        self.length = None if length is None else skipped + int(length)
        if skipped < self.position:  # a server without ranges sends everything again
            _discard(response, self.position)
        self.response = response

    def _read(self, buffer: memoryview) -> int:
        if self.response is None:
            self._connect()
        count = self.response.readinto(buffer)
        if not count and self.length is not None and self.position < self.length:
            raise ConnectionError("the connection ended early")
        return count

    def _retried(self, attempt):
        for wait in (*WAITS, None):
            try:
                return attempt()
            except (OSError, http.client.HTTPException) as error:
                if self.response is not None:
                    self.response.close()
                    self.response = None
                final = isinstance(error, urllib.error.HTTPError) and error.code not in PASSING
                if final or wait is None:
                    of = "" if self.length is None else f" of {self.length:,}"
                    place = f" at byte {self.position:,}{of}" if self.position else ""
                    raise InputError(f"{self.address}: can't be read{place} ({error})") from error
                time.sleep(wait)
        raise AssertionError("the last try returns or raises")


def _request(address: str, method: str, first: int) -> http.client.HTTPResponse:
    headers = {"Range": f"bytes={first}-"} if first else {}
    request = urllib.request.Request(address, headers=headers, method=method)
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _discard(response: http.client.HTTPResponse, count: int) -> None:
    while count:
        part = response.read(min(count, BUFFER))
        if not part:
            raise ConnectionError("the connection ended early")
        count -= len(part)
