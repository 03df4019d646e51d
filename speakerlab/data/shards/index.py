"""The index of a folder of shards: what it holds, so that training knows classes and counts, and misses nothing."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speakerlab import InputError
from speakerlab.data.manifest import replacing
from speakerlab.data.shards.transport import is_url, joined, read_address, size_of

INDEX = "shards.json"
VERSION = 1
REQUESTS = 16  # questions to a disk or a server at a time


@dataclass(frozen=True)
class Shard:
    """One tar file: its name relative to the index (or its full address), utterances, bytes and SHA-256 ("" where it
    was not computed)."""

    name: str
    items: int
    bytes: int
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """All shards of a folder.

    Attributes:
        root: folder, or URL of one.
        shards: in the order in which utterances are numbered.
        speakers: name -> utterances, sorted by name; a speaker's class is the position.
        folders: where each speaker's files lay when they were packed; empty where nobody knows.
        made: how it was made, so that a later run can tell whether it would make the same.
    """

    root: str
    shards: tuple[Shard, ...]
    speakers: Mapping[str, int]
    folders: tuple[str, ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Utterances."""
        return sum(shard.items for shard in self.shards)

    @property
    def addresses(self) -> list[str]:
        return [joined(self.root, shard.name) for shard in self.shards]


@dataclass(frozen=True, eq=False)
class Shards:
    """What training reads: the index and how far utterances are shuffled.

    Attributes:
        index: of the shards.
        shuffle_buffer: utterances that each data worker holds to draw the next one from.
    """

    index: ShardIndex
    shuffle_buffer: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def speakers(self) -> list[str]:
        return list(self.index.speakers)

    @property
    def items(self) -> np.ndarray:
        """`(shards,)` utterances of each."""
        return np.array([shard.items for shard in self.index.shards], np.int64)


def write_index(index: ShardIndex, folder: Path) -> None:
    """Write `folder/shards.json`, whole or not at all."""
    contents = {
        "version": VERSION,
        "made": dict(index.made),
        "utterances": len(index),
        "shards": [asdict(shard) for shard in index.shards],
        "speakers": dict(index.speakers),
        "folders": list(index.folders),
    }
    with replacing(folder / INDEX) as draft:
        draft.write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_index(root: str) -> ShardIndex:
    """The index of a folder or URL.

    Raises:
        InputError: if there is none, or it is damaged or of a later version.
    """
    address = joined(root, INDEX)
    try:
        contents = json.loads(read_address(address))
        if contents["version"] != VERSION:
            raise InputError(f"{address}: is of version {contents['version']}, which this program does not know")
        index = ShardIndex(
            root=root,
            shards=tuple(Shard(**shard) for shard in contents["shards"]),
            speakers=dict(sorted(contents["speakers"].items())),
            folders=tuple(contents["folders"]),
            made=contents["made"],
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{address}: is damaged; run `speakerlab shard` again, which writes it anew") from error
    if len(index) != sum(index.speakers.values()) or len(index) != contents["utterances"]:
        raise InputError(f"{address}: is damaged, its counts differ; run `speakerlab shard` again")
    return index


def check_present(index: ShardIndex) -> None:
    """Stop if a shard has vanished or has another size than when it was made.

    Raises:
        InputError: naming the first such shard and how many there are.
    """
    with ThreadPoolExecutor(REQUESTS) as pool:
        faults = list(pool.map(_fault, index.addresses, index.shards))
    faults = [fault for fault in faults if fault]
    if faults:
        others = f" (and {len(faults) - 1} more of {len(index.shards)} shards)" if len(faults) > 1 else ""
        anew = "" if is_url(index.root) else ", or run the same `speakerlab shard` again"
        raise InputError(f"{faults[0]}{others}; copy it there again{anew}")


def _fault(address: str, shard: Shard) -> str:
    size = size_of(address)
    if size is None:
        return f"{address}: this shard is missing"
    if size not in (-1, shard.bytes):
        return f"{address}: this shard has {size:,} bytes in place of {shard.bytes:,}"
    return ""
