"""The page as a running server."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from speakerlab import InputError
from speakerlab.inference.page.answers import Answers, Draw
from speakerlab.inference.page.limits import MEGABYTE, Limits
from speakerlab.inference.page.uploads import Uploads
from speakerlab.inference.recognizer import SpeakerRecognizer

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
# Gradio reads its settings from the environment as well; those of another program must not open this page.
UNWANTED = ("GRADIO_", "SYSTEM")


@contextmanager
def serving(
    recognizer: SpeakerRecognizer,
    draw: Draw,
    host: str = LOOPBACK,
    port: int | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """The page's address, while it is served.

    Args:
        recognizer: the model and its gallery.
        draw: see `Answers`.
        host: to bind to; other than loopback, whoever reaches this machine may use the page.
        port: None is the first free one from 7860 on.
        limits: on what comes from browsers.

    Raises:
        InputError: if Gradio is missing, the port is taken, or the address is none of this machine's.
    """
    limits = limits or Limits()
    uploads = Uploads(limits)
    before = {name: value for name, value in os.environ.items() if name.startswith(UNWANTED)}
    for name in before:
        del os.environ[name]
    # Read whenever Gradio is imported or keeps a file.
    own = {"GRADIO_TEMP_DIR": str(uploads.folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ.update(own)
    page = None
    try:
        page, address = _launch(Answers(recognizer, uploads, limits, draw), uploads, limits, host, port)
        yield address
    finally:
        if page is not None:
            page.close(verbose=False)
        for name in own:
            os.environ.pop(name, None)
        os.environ.update(before)
        uploads.close()


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _launch(answers: Answers, uploads: Uploads, limits: Limits, host: str, port: int | None):
    try:
        from starlette.middleware import Middleware

        from speakerlab.inference.page.guard import Guard
        from speakerlab.inference.page.layout import build_page, theme
        from speakerlab.inference.page.looks import CSS
    except ImportError as error:
        raise InputError(f"the page needs Gradio ({error}): pip install 'speakerlab[web]'") from error
    _check_address(host, port)
    page = build_page(answers)
    hosts = (*LOCAL_NAMES, host) if is_loopback(host) else ()
    guard = Middleware(Guard, uploads=uploads, limits=limits, hosts=hosts)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            max_file_size=int(limits.megabytes * MEGABYTE),
            max_threads=8,
            state_session_capacity=200,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
            app_kwargs={"middleware": [guard]},
            theme=theme(),
            css=CSS,
        )
    except OSError as error:
        raise _refusal(host, port, "all of them are taken") from error
    return page, address


def _check_address(host: str, port: int | None) -> None:
    """Bind to it and let go: of an address that can't be had, Gradio tries and reports a hundred ports."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except (OSError, UnicodeError) as error:  # a name of two dots in a row is no name for the codec
        raise _refusal(host, port, getattr(error, "strerror", None) or "no name of a host") from error


def _refusal(host: str, port: int | None, reason: str) -> InputError:
    ports = f"{port}" if port else "7860 and those after it"
    return InputError(f"{host}:{ports} can't be served on ({reason}); give another --port or --host")
