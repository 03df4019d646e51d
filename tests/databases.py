"""A PostgreSQL server of its own for a test, in a temporary folder."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"  # Debian's package makes it; the server refuses to run as root


def missing() -> str:
    """Why no server can be started here; "" where one can."""
    if not _program("initdb"):
        return "PostgreSQL is not installed (Debian: apt install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (pip install 'speakerlab[postgresql]')"
    if os.geteuid() == 0 and USER not in [entry.pw_name for entry in pwd.getpwall()]:
        return f"PostgreSQL does not run as root, and there is no user {USER}"
    return ""


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database on a server that ends with the test."""
    folder = Path(tempfile.mkdtemp(prefix="speakerlab-postgresql-"))
    user = USER if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [_program(program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300)

    run("initdb", "--auth=trust", "--username=me", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "start", "-w", "-t", "240", "-o", options, "-l", str(folder / "log"))
    try:
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
    return os.path.realpath(found) if found else None
