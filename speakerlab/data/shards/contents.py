"""What shards hold, read from their tar headers and labels: of a local file the audio is passed over."""

import os
import signal
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple, TypeVar

import pyarrow as pa

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.audio import AUDIO_SUFFIXES, AudioBytes, AudioError, probe
from speakerlab.data.manifest import MANIFEST_SCHEMA
from speakerlab.data.shards.index import ShardIndex
from speakerlab.data.shards.members import LABELS, SKIPPED, read_label, split_name
from speakerlab.data.shards.transport import is_url, open_address

END = bytes(2 * 512)  # of every tar file
Result = TypeVar("Result")
Member = tuple[str, str, tarfile.TarInfo]  # key, suffix in lower case, header
LeftOut = tuple[str, str, str]  # path, reason, detail


class Entry(NamedTuple):
    """An utterance.

    Attributes:
        key: of its members.
        about: what its label says, "speaker" at least.
        suffix: of its audio.
        audio: gives the bytes of its audio, while the shard is open.
    """

    key: str
    about: dict[str, Any]
    suffix: str
    audio: Callable[[], bytes]


def entries(address: str, with_audio: bool = False) -> Iterator[Entry]:
    """Every utterance of a shard, in its order.

    Args:
        address: path or URL.
        with_audio: whether `Entry.audio` will be called; what can't be seeked is kept for it.

    Raises:
        InputError: if the shard is damaged, or an utterance lacks audio or speaker.
    """
    is_local = not is_url(address)
    keep = with_audio and not (is_local and address.endswith(".tar"))
    key = None
    try:
        mode = "r:*" if is_local else "r|*"
        with open_address(address) as file, tarfile.open(fileobj=file, mode=mode) as tar:
            for key, members in groupby(_members(tar), key=itemgetter(0)):
                yield _entry(address, key, tar, members, keep)
            if is_local and address.endswith(".tar"):
                _check_end(file)
    except (tarfile.TarError, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(":- ")
        raise InputError(f"{address}: is no tar file, or damaged ({reason}); copy it again, or take it away") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{address}: the label of utterance {key} can't be read ({error})") from error


def shard_table(index: ShardIndex, workers: int, progress: Progress | None = None) -> tuple[pa.Table, list[LeftOut]]:
    """The utterances of shards as rows of a manifest, and those that can't be read (path, reason, detail).

    A row's path is that of its shard and, behind it, of the member: `shard-000000.tar/000000001.flac`. Further columns
    are what labels say in words.

    Args:
        index: of the shards.
        workers: processes.
        progress: called with (shards done, shards in all).

    Raises:
        InputError: if a shard is damaged.
    """
    found = for_each(partial(_rows, index.root), index.addresses, workers, progress)
    tables = [table for table, _ in found]
    left_out = [one for _, some in found for one in some]
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries(), left_out


def for_each(
    function: Callable[[str], Result], addresses: list[str], workers: int, progress: Progress | None = None
) -> list[Result]:
    """What a function says of each shard, in a pool of processes; `progress` gets (shards done, shards in all)."""
    if min(workers, len(addresses)) == 1:
        return [function(address) for address in addresses]
    results: dict[str, Result] = {}
    quiet = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}  # no traceback on Ctrl-C
    with ProcessPoolExecutor(min(workers, len(addresses)), mp_context=get_context("spawn"), **quiet) as pool:
        futures = {pool.submit(function, address): address for address in addresses}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                if progress is not None:
                    progress(len(results), len(addresses))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[address] for address in addresses]


def _members(tar: tarfile.TarFile) -> Iterator[Member]:
    """The files that make up utterances."""
    for member in tar:
        tar.members = []  # a list of all members would be kept
        key, suffix = split_name(member.name)
        if key is not None and member.isreg() and not SKIPPED.match(member.name):
            yield key, suffix.lower(), member


def _entry(address: str, key: str, tar: tarfile.TarFile, members: Iterable[Member], keep: bool) -> Entry:
    labels: dict[str, dict] = {}
    audio = None
    for _, suffix, member in members:
        if suffix in LABELS:
            labels[suffix] = read_label(suffix, _read(tar, member))
        elif f".{suffix}" in AUDIO_SUFFIXES:
            audio = suffix, partial(bytes, _read(tar, member)) if keep else partial(_read, tar, member)
    if not labels or audio is None:
        lacking = "speaker (.spk or .json)" if not labels else f"audio ({', '.join(AUDIO_SUFFIXES)})"
        raise InputError(f"{address}: utterance {key} has no {lacking}")
    return Entry(key, labels[max(labels, key=LABELS.index)], *audio)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return tar.extractfile(member).read()


def _check_end(file: BinaryIO) -> None:
    """A file that was cut off between two members lacks the zeros that end an archive; tarfile does not mind."""
    file.seek(-len(END), os.SEEK_END)
    if file.read() != END:
        raise tarfile.ReadError("cut off")


def _rows(root: str, address: str) -> tuple[pa.Table, list[LeftOut]]:
    """The rows of one shard, and what can't be read of it."""
    rows, left_out = [], []
    for entry in entries(address, with_audio=True):
        about, place = entry.about, f"{address}/{entry.key}.{entry.suffix}"
        path = place.removeprefix(f"{root}/")
        if not {"samples", "sample_rate"} <= about.keys():
            try:
                info = probe(AudioBytes(place, entry.audio()))
            except AudioError as error:
                left_out.append((path, "broken", str(error).removeprefix(f"{place}: ")))
                continue
            about |= {"samples": info.samples, "sample_rate": info.sample_rate}
        rows.append({"utterance": entry.key, "first_sample": 0, **about, "root": root, "path": path})
    columns = {field.name: _column(rows, field) for field in MANIFEST_SCHEMA}
    further = {name for row in rows for name, value in row.items() if isinstance(value, str)} - columns.keys()
    for name in sorted(further):
        values = [value if isinstance(value, str) else None for value in (row.get(name) for row in rows)]
        columns[name] = pa.array(values, pa.string())
    return pa.table(columns), left_out


def _column(rows: list[dict], field: pa.Field) -> pa.Array:
    """A column of the manifest; what labels do not say is ""."""
    if pa.types.is_integer(field.type):
        return pa.array([row[field.name] for row in rows], field.type)
    values = pa.array([str(row.get(field.name) or "") for row in rows], pa.string())
    return values.dictionary_encode() if pa.types.is_dictionary(field.type) else values
