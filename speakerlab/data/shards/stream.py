"""One lane's utterances of an epoch, through WebDataset: tar members grouped, and shuffled in a buffer.

The library keeps no state, so a stream that starts in the middle draws its shuffle anew on the utterances' positions
alone, which tells what has been read: that is passed over, whole shards unopened, and the rest comes as it would have.
"""

import random
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from speakerlab import InputError
from speakerlab.data.audio import AUDIO_SUFFIXES, AudioBytes, AudioError, AudioInfo, probe
from speakerlab.data.shards.index import Shard, Shards
from speakerlab.data.shards.members import LABELS, Wanted, read_label, split_name
from speakerlab.data.shards.plan import Layout, Piece, pieces
from speakerlab.data.shards.transport import open_address


@dataclass(frozen=True, eq=False)
class Packed:
    """An utterance as it lies in its shard.

    Attributes:
        position: in the epoch.
        number: among all utterances of the shards.
        utterance: its name.
        speaker: its name.
        audio: the file.
        first_sample, samples, sample_rate: the utterance's part of it.
    """

    position: int
    number: int
    utterance: str
    speaker: str
    audio: AudioBytes
    first_sample: int
    samples: int
    sample_rate: int


def stream(shards: Shards, layout: Layout, seed: int, epoch: int, lane: int, batches_done: int) -> Iterator[Packed]:
    """What a lane has still to read of an epoch.

    Args:
        shards: index and length of the buffer.
        layout: how the epoch is dealt out.
        seed: of both orders.
        epoch: from 0.
        lane: of this rank.
        batches_done: batches of this lane that are behind.

    Raises:
        InputError: if a shard has vanished, is damaged or has other contents than its index says.
    """
    first, sizes = layout.lane(lane, len(shards))
    count, done = int(sizes.sum()), int(sizes[:batches_done].sum())
    key = repr((seed, epoch, layout.rank, lane))

    def shuffled(source: Iterator) -> Iterator:
        from webdataset import filters

        return filters.shuffle(shards.shuffle_buffer, rng=random.Random(key))(source)

    is_read = bytearray(count)
    for place in islice(shuffled(iter(range(count))), done):
        is_read[place] = 1
    wanted = pieces(shards.items, layout.passes, seed, epoch, first, count)
    with closing(_utterances(shards, wanted, is_read)) as source:
        yield from islice(shuffled(source), done, None)


def _utterances(shards: Shards, wanted: Iterator[Piece], is_read: bytearray) -> Iterator[Packed | None]:
    """The utterances of the pieces, with None for each that `is_read`."""
    numbers = [0, *shards.items.cumsum().tolist()]
    addresses = shards.index.addresses
    place = 0
    for piece in wanted:
        read = is_read[place : place + piece.end - piece.first]
        place += len(read)
        left = [item for item, behind in zip(range(piece.first, piece.end), read, strict=True) if not behind]
        if not left:
            yield from (None for _ in read)
            continue
        with closing(read_shard(addresses[piece.shard], shards.index.shards[piece.shard], left)) as samples:
            for item, behind in zip(range(piece.first, piece.end), read, strict=True):
                position, number = piece.position + item - piece.first, numbers[piece.shard] + item
                yield None if behind else _packed(next(samples), position, number)


def read_shard(address: str, shard: Shard, wanted: list[int]) -> Iterator[dict[str, Any]]:
    """WebDataset's samples of the `wanted` (ascending) utterances of a shard: suffix -> bytes, and their key and URL.

    Raises:
        InputError: if the shard is missing, damaged or has fewer utterances.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    given = 0
    fault = f"of the {shard.items:,} that the index counts"
    with open_address(address) as file:
        try:
            members = tar_file_expander([{"url": address, "stream": file}], select_files=Wanted(set(wanted)))
            for sample in islice(group_by_keys(members, keys=split_name), len(wanted)):
                yield sample
                given += 1
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            # WebDataset adds the stream to an error's arguments, and to its text.
            reason = str(error.args[0] if error.args else error).splitlines()[0].partition(" @ <")[0]
            if isinstance(error, InputError):
                raise InputError(reason) from error
            place = f"behind utterance {wanted[given - 1] + 1:,}" if given else f"before utterance {wanted[0] + 1:,}"
            raise InputError(f"{address}: this shard is damaged {place} {fault} ({reason})") from error
    if given < len(wanted):
        raise InputError(f"{address}: this shard ends before utterance {wanted[given] + 1:,} {fault}; copy it again")


def _packed(sample: dict[str, Any], position: int, number: int) -> Packed:
    """Raises InputError if the sample lacks audio or speaker, which its index should have told."""
    name = f"{sample['__url__']}/{sample['__key__']}"
    label = next((suffix for suffix in reversed(LABELS) if suffix in sample), None)
    suffix = next((suffix for suffix in sample if f".{suffix}" in AUDIO_SUFFIXES), None)
    if label is None or suffix is None:
        raise InputError(f"{name}: has no {'speaker' if label is None else 'audio'}; is the shard another one?")
    try:
        about = read_label(label, sample[label])
    except ValueError as error:
        raise InputError(f"{name}.{label}: can't be read ({error})") from error
    audio = AudioBytes(f"{name}.{suffix}", sample[suffix])
    if not {"samples", "sample_rate"} <= about.keys():
        about |= _measured(audio)
    part = (about.get("first_sample", 0), about["samples"], about["sample_rate"])
    return Packed(position, number, about.get("utterance", sample["__key__"]), about["speaker"], audio, *part)


def _measured(audio: AudioBytes) -> dict[str, int]:
    try:
        info = probe(audio)
    except AudioError:
        info = AudioInfo(sample_rate=1, samples=1, channels=1)  # whoever reads it meets the same error, and counts it
    return {"samples": info.samples, "sample_rate": info.sample_rate}
