"""Models from the web: downloaded once, resumed where it broke off, and used only if they are what was asked for."""

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from speakerlab import InputError
from speakerlab.data import Progress

LARGEST = 8 << 30  # bytes
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
FRAGMENT = re.compile(r"sha256=([0-9a-fA-F]{64})")


def is_url(source: str | os.PathLike) -> bool:
    """Whether it is on a web server; anything else is a path.

    Raises:
        InputError: for an address of another kind.
    """
    if not isinstance(source, str) or not SCHEME.match(source):
        return False
    if not source.lower().startswith(("http://", "https://")):
        raise InputError(f"{source}: only https addresses are downloaded; download it otherwise and give the file")
    return True


def fetch_model(url: str, sha256: str | None, cache_dir: str | os.PathLike | None, progress: Progress | None) -> Path:
    """The file at an address, from the cache if it is there.

    Args:
        url: may end with `#sha256=...`.
        sha256: of the file; None takes the address's.
        cache_dir: keeps it in `models/<sha256>/`; None is `$SPEAKERLAB_CACHE`, or `~/.cache/speakerlab`.
        progress: called with bytes that are there, and bytes in all (0 if nobody knows).

    Raises:
        InputError: if no SHA-256 is given, or the file can't be had, is too large or another one.
    """
    import fcntl  # which not every system has; the rest of the recognizer works without

    from speakerlab.data.download import Downloader, RemoteFile
    from speakerlab.data.journal import Journal
    from speakerlab.data.tree import make_folder

    address, name = _parts(url)
    sha256 = _hash(url, sha256)
    cache = Path(cache_dir or os.environ.get("SPEAKERLAB_CACHE") or "~/.cache/speakerlab").expanduser()
    folder = make_folder(cache / "models" / sha256, "cache_dir")
    file = RemoteFile(name, (address,), sha256=sha256, largest=LARGEST)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching it; let go of by any end of this one
        downloader = Downloader(folder, Journal(folder / ".checked.jsonl"), None, 1)
        downloader.fetch([file], progress or (lambda done, total: None))
    return folder / name


def _parts(url: str) -> tuple[str, str]:
    """The address without its fragment, and the name that the file gets here."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # such as an unclosed bracket
        host = None
    if not host:
        raise InputError(f"{url}: is no address; it must be https://host/path/model.ckpt")
    name = re.sub(r"[^\w.+-]+", "_", PurePosixPath(unquote(parts.path)).name).strip("._")[-100:]
    return url.partition("#")[0], name or "model.ckpt"


def _hash(url: str, sha256: str | None) -> str:
    """The hash of both that was given.

    Raises:
        InputError: if there is none, two, or it is none.
    """
    fragment = FRAGMENT.fullmatch(urlsplit(url).fragment)
    given = [one.lower() for one in (sha256, fragment and fragment[1]) if one]
    if not given:
        raise InputError(
            f"{url}: give the file's SHA-256, which its publisher tells, as sha256= or by adding #sha256=... to the "
            "address: nothing else shows that it is the right file"
        )
    if not re.fullmatch("[0-9a-f]{64}", given[0]) or len(set(given)) > 1:
        raise InputError(f"{url}: sha256={given[0]:.80} must be 64 hexadecimal digits, and the same if given twice")
    return given[0]
