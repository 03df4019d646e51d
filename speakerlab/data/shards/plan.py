"""Who reads what of the shards in an epoch: arithmetic on counts, no file is touched.

An epoch is one sequence of positions: the utterances of the shards, which are shuffled anew, one shard after the
other. It is cut into equal runs, one a rank, and these into lanes, one a data worker; where a cut falls within a shard,
two lanes read their parts of it. So each utterance is read once an epoch, all ranks have equally many batches, and a
batch is a pure function of its number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from speakerlab import InputError


class Piece(NamedTuple):
    """Utterances `first` to `end` of a shard; the first of them stands at `position` of the epoch."""

    shard: int
    first: int
    end: int
    position: int


@dataclass(frozen=True)
class Layout:
    """How an epoch is dealt out. A lane's order depends on all of it: a run resumes under the same layout.

    Attributes:
        batches: of an epoch, on each rank.
        passes: how often an epoch visits each utterance.
        rank, ranks: this process among all.
        lanes: data workers of a rank; batch `b` is read by lane `b % lanes`.
    """

    batches: int
    passes: int
    rank: int
    ranks: int
    lanes: int

    def check(self, utterances: int) -> None:
        """Raises InputError if a rank's part of a batch has less than two utterances, which batch norm needs."""
        if utterances * self.passes // self.ranks < 2 * self.batches:
            raise InputError(
                f"{utterances} utterances in {self.batches} batches are too few for {self.ranks} processes: "
                "raise sampler.batch_size"
            )

    def size(self, batch: np.ndarray | int, utterances: int) -> np.ndarray | int:
        """Utterances of a batch of this rank; sizes differ by one at most."""
        first, end = self._run(utterances)
        return (end - first) * (batch + 1) // self.batches - (end - first) * batch // self.batches

    def lane(self, number: int, utterances: int) -> tuple[int, np.ndarray]:
        """Where a lane begins in the epoch, and the sizes of its batches in order."""
        sizes = self.size(np.arange(self.batches), utterances)
        before = sum(int(sizes[lane :: self.lanes].sum()) for lane in range(number))
        return self._run(utterances)[0] + before, sizes[number :: self.lanes]

    def _run(self, utterances: int) -> tuple[int, int]:
        """First and behind last position of this rank."""
        total = utterances * self.passes
        return total * self.rank // self.ranks, total * (self.rank + 1) // self.ranks


def pieces(items: np.ndarray, passes: int, seed: int, epoch: int, first: int, count: int) -> Iterator[Piece]:
    """What positions `first` to `first + count` of an epoch are.

    Args:
        items: `(shards,)` utterances of each shard.
        passes: over all shards, each in an order of its own.
        seed, epoch: of the orders.
        first, count: positions.
    """
    generator = np.random.default_rng([seed, epoch])
    order = np.concatenate([generator.permutation(len(items)) for _ in range(passes)])
    starts = np.concatenate([[0], np.cumsum(items[order])])
    for turn in range(int(np.searchsorted(starts, first, side="right")) - 1, len(order)):
        start, end = int(starts[turn]), int(starts[turn + 1])
        if start >= first + count:
            return
        low, high = max(first, start), min(first + count, end)
        if low < high:
            yield Piece(int(order[turn]), low - start, high - start, low)
