"""What a corpus is made of, read from `conf/prepare/<corpus>.yaml`: files, checksums, addresses, limits."""

import importlib.util
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from speakerlab import InputError
from speakerlab.data.download import RemoteFile
from speakerlab.data.left_out import check_share


@dataclass(frozen=True)
class Archive:
    """A zip or tar archive in one or more parts; its members go to the folder `into` of the extracted tree."""

    name: str
    into: str
    parts: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int | None:
        sizes = [part.bytes for part in self.parts]
        return None if None in sizes else sum(sizes)


@dataclass(frozen=True)
class ListFile:
    """A trial list or metadata file: `to` is its place in the prepared folder, `inside` that in the corpus's tree."""

    file: RemoteFile
    to: str
    inside: str


@dataclass(frozen=True)
class Checks:
    """What a recording must be to enter the manifest, and how many may fail."""

    min_seconds: float
    min_rate: int
    stereo: str
    silence_db: float
    max_bad_share: float

    def __post_init__(self):
        if self.stereo not in ("reject", "mix"):
            raise InputError(f"checks.stereo={self.stereo!r} must be reject or mix")
        check_share("max_bad_share", self.max_bad_share)
        for name, low in (("min_seconds", 0), ("min_rate", 1)):
            if getattr(self, name) < low:
                raise InputError(f"checks.{name}={getattr(self, name)} must be at least {low}")
        if self.silence_db >= 0:
            raise InputError(f"checks.silence_db={self.silence_db} must be under 0")


@dataclass(frozen=True)
class Sources:
    """A corpus's files and limits; `expected` has (speakers, utterances) of each split of the whole corpus."""

    corpus: str
    archives: tuple[Archive, ...]
    lists: tuple[ListFile, ...]
    checks: Checks
    expected: dict[str, tuple[int, int]]

    def only(self, names: list[str]) -> "Sources":
        """With these archives alone; `train-clean-100` stands for `train-clean-100.tar.gz`."""
        known = [archive.name for archive in self.archives]
        for name in names:
            if not any(_is(known_name, name) for known_name in known):
                raise InputError(f"--only {name}: {self.corpus} has no such archive; it has {', '.join(known)}")
        chosen = [archive for archive in self.archives if any(_is(archive.name, name) for name in names)]
        return replace(self, archives=tuple(chosen))


def read_sources(path: Path, url_base: str | None = None) -> Sources:
    """The sources in a YAML file.

    Args:
        path: the file.
        url_base: address of the archives in place of the file's own; `{file}` in it stands for a file's name, and
            without that the name is put behind it.

    Raises:
        InputError: if there is no such file, or it is not of the form of those in `conf/prepare/`.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: can't be read ({error.strerror}); give a file like those in conf/prepare/"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if url_base is not None and not _is_address(url_base):
        raise InputError(f"--url-base {url_base}: must begin with http:// or https:// and a host's name")
    try:
        return _sources(tree, [url_base] if url_base else tree["archives_from"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: {what}; see the files in conf/prepare/") from error


def _sources(tree: dict, archive_bases: list[str]) -> Sources:
    corpus = tree["corpus"]
    if importlib.util.find_spec(f"speakerlab.data.corpora.{corpus}") is None:
        raise ValueError(f"corpus {corpus!r} has no speakerlab/data/corpora/{corpus}.py")
    return Sources(
        corpus=corpus,
        archives=tuple(
            Archive(
                _plain(entry["name"]),
                entry["into"],
                tuple(_remote(part, archive_bases) for part in entry["parts"]),
            )
            for entry in tree["archives"]
        ),
        lists=tuple(
            ListFile(
                _remote({key: entry[key] for key in ("name", "md5") if key in entry}, tree["lists_from"]),
                entry["to"],
                entry.get("inside", entry["name"]),
            )
            for entry in tree["lists"]
        ),
        checks=Checks(**{field.name: tree["checks"][field.name] for field in fields(Checks)}),
        expected={split: (speakers, rows) for split, (speakers, rows) in tree["expected"].items()},
    )


def _remote(entry: dict[str, Any], bases: list[str]) -> RemoteFile:
    unknown = set(entry) - {"name", "md5", "bytes"}
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r} of {entry.get('name')}")
    name = _plain(entry["name"])
    for base in bases:
        if not _is_address(base):
            raise ValueError(f"{base!r} is no address: it must begin with http:// or https:// and a host's name")
    urls = tuple(base.replace("{file}", name) if "{file}" in base else f"{base.rstrip('/')}/{name}" for base in bases)
    return RemoteFile(name, urls, entry.get("md5"), entry.get("bytes"))


def _is_address(base: str) -> bool:
    """Whether a file can be asked for there."""
    try:
        parts = urlsplit(base)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # such as an unclosed bracket
        return False


def _plain(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is no plain file name")
    return name


def _is(archive: str, name: str) -> bool:
    return archive == name or archive.partition(".")[0] == name
