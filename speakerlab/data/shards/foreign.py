"""Shards without an index, such as WeSpeaker's (`KEY.wav` and `KEY.spk`): gone through once, and remembered.

Of local files only the headers and the few bytes of the labels are read; a web server's are streamed once.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.shards.contents import entries, for_each
from speakerlab.data.shards.index import INDEX, Shard, ShardIndex, read_index, write_index
from speakerlab.data.shards.transport import is_url, read_address, size_of

SCAN_VERSION = 1  # part of the cache's name: raise it when what counts as an utterance changes


def list_shards(root: str) -> list[str]:
    """Addresses of the shards that `root` means: a folder of tar files, or a text file with one address a line.

    Relative lines start from the list's folder, or else from the working folder.

    Raises:
        InputError: if there is no such file or folder, or no shard.
    """
    if not is_url(root) and Path(root).is_dir():
        found = [str(path) for path in sorted(Path(root).iterdir()) if path.name.endswith((".tar", ".tar.gz", ".tgz"))]
        if not found:
            raise InputError(f"{root}: holds neither {INDEX} nor tar files; give the folder that holds the shards")
        return found
    try:
        lines = [line.strip() for line in read_address(root).decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{root}: is no list of shards; give a folder, or a text file with a shard a line") from error
    folder = root.rpartition("/")[0] if is_url(root) else str(Path(root).parent)
    found = [_address(line, folder) for line in lines if line]
    if not found:
        raise InputError(f"{root}: names no shard; give a folder, or a text file with a shard a line")
    repeated = [address for address, count in Counter(found).items() if count > 1]
    if repeated:
        raise InputError(f"{root}: names {repeated[0]} more than once")
    return found


def _address(line: str, folder: str) -> str:
    if is_url(line):
        return line
    if is_url(folder):
        return f"{folder}/{line}"
    beside = Path(folder, line)  # an absolute line stays as it is
    return str((beside if beside.exists() else Path(line)).absolute())


def scan_shards(root: str, cache_dir: Path, workers: int, progress: Progress | None = None) -> ShardIndex:
    """The index of shards that have none, from the last scan if their sizes and times are the same.

    Args:
        root: see `list_shards`.
        cache_dir: gets `shards/<hash>/shards.json`.
        workers: processes.
        progress: called with (shards done, shards in all).

    Raises:
        InputError: if a shard is missing or damaged, or an utterance lacks audio or speaker.
    """
    addresses = list_shards(root)
    stamps = [_stamp(address) for address in addresses]
    folder = cache_dir / "shards" / hashlib.sha256(json.dumps([SCAN_VERSION, root]).encode()).hexdigest()[:12]
    made = {"scanned": stamps}
    if (folder / INDEX).is_file():
        try:
            remembered = read_index(str(folder))
        except InputError:
            remembered = None
        if remembered is not None and remembered.made == made:
            return ShardIndex(root, remembered.shards, remembered.speakers, made=made)
    counts = dict(zip(addresses, for_each(count_speakers, addresses, workers, progress), strict=True))
    shards = tuple(Shard(address, counts[address].total(), stamp[1]) for address, stamp in zip(addresses, stamps))
    speakers = sum(counts.values(), Counter())
    index = ShardIndex(root, shards, dict(sorted(speakers.items())), made=made)
    folder.mkdir(parents=True, exist_ok=True)
    write_index(index, folder)
    return index


def _stamp(address: str) -> list:
    size = size_of(address)
    if size is None:
        raise InputError(f"{address}: this shard is missing; copy it there again, or take it from the list")
    return [address, size, 0 if is_url(address) else Path(address).stat().st_mtime_ns]


def count_speakers(address: str) -> Counter[str]:
    """Utterances of each speaker in one shard.

    Raises:
        InputError: if it is damaged, or an utterance lacks audio or speaker.
    """
    return Counter(entry.about["speaker"] for entry in entries(address))
