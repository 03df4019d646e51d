"""Whole utterances, batched with others of similar length."""

from typing import NamedTuple

import numpy as np

from speakerlab import InputError
from speakerlab.data.batches import LEAST, Batches, Items, order_generator


class LengthBucketedSampler:
    """Each utterance once an epoch, in batches of at most `max_seconds` with padding, the batches in random order.

    The utterances, sorted by length, are cut into buckets of nearly equal lengths; each epoch shuffles each bucket and
    cuts it into batches. Every batch is full but for those of the shortest utterances.

    Args:
        max_seconds: utterances in a batch times the longest of them, over all ranks together.
        max_padding: in a bucket, the longest utterance is padded by nothing and the shortest by at most this share of
            the result. Only where utterances are too few to fill a batch does a bucket reach further.
        longest_seconds: longer utterances are left out; None takes all.
        largest_first: begin with the batch that holds the most seconds, so that what does not fit into memory fails at
            once.

    Raises:
        ValueError: if a number is out of range.
    """

    group = 1

    def __init__(
        self,
        max_seconds: float = 240.0,
        max_padding: float = 0.1,
        longest_seconds: float | None = None,
        largest_first: bool = True,
    ):
        if not max_seconds > 0:
            raise ValueError(f"max_seconds={max_seconds} must be positive")
        if not 0 <= max_padding < 1:
            raise ValueError(f"max_padding={max_padding} must be at least 0 and below 1")
        if longest_seconds is not None and not 0 < longest_seconds <= max_seconds / LEAST:
            raise ValueError(
                f"longest_seconds={longest_seconds} must be positive and at most {max_seconds / LEAST:g}, so that "
                f"{LEAST} such utterances fit into max_seconds={max_seconds}"
            )
        self.max_seconds = max_seconds
        self.max_padding = max_padding
        self.longest_seconds = longest_seconds
        self.largest_first = largest_first

    def batches_per_epoch(self, items: Items) -> int:
        return sum(bucket.batches for bucket in self.buckets(items)[1])

    def buckets(self, items: Items) -> tuple[np.ndarray, list["Bucket"]]:
        """What every epoch has in common: `(order,)` items, the longest first, and the buckets that it is cut into."""
        order = np.argsort(-items.seconds, kind="stable")
        if self.longest_seconds is not None:
            order = order[np.count_nonzero(items.seconds > self.longest_seconds) :]
        if len(order) == 0:
            raise InputError(f"sampler.longest_seconds={self.longest_seconds}: every utterance is longer")
        seconds = items.seconds[order]
        if LEAST * seconds[0] > self.max_seconds:
            raise InputError(
                f"sampler.max_seconds={self.max_seconds}: a batch needs {LEAST} utterances, and the longest has "
                f"{seconds[0]:.2f} s; give at least {LEAST * seconds[0]:.2f}, or sampler.longest_seconds to leave out "
                "longer ones"
            )
        return order, cut(seconds, self.max_seconds, self.max_padding)

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        generator = order_generator(seed, epoch)
        order, buckets = self.buckets(items)
        for bucket in buckets:
            generator.shuffle(order[bucket.first : bucket.end])
        sizes = np.concatenate([bucket.sizes for bucket in buckets])
        starts = np.cumsum(sizes) - sizes
        turn = generator.permutation(len(sizes))
        if self.largest_first:
            padded = sizes * np.maximum.reduceat(items.seconds[order], starts)
            place = np.flatnonzero(turn == padded.argmax())[0]
            turn[[0, place]] = turn[[place, 0]]
        bounds = np.concatenate([[0], np.cumsum(sizes[turn])])
        moved = np.repeat(starts[turn] - bounds[:-1], sizes[turn])  # from its place in the epoch to that in `order`
        return Batches(order[np.arange(len(order)) + moved], bounds)


class Bucket(NamedTuple):
    """Utterances `first` to `end` of those sorted by length, in so many batches."""

    first: int
    end: int
    batches: int

    @property
    def sizes(self) -> np.ndarray:
        """`(batches,)` utterances in each batch; they differ by one at most."""
        return np.diff(np.arange(self.batches + 1) * (self.end - self.first) // self.batches)


def cut(seconds: np.ndarray, max_seconds: float, max_padding: float) -> list[Bucket]:
    """Buckets that hold whole batches, however they are shuffled.

    Args:
        seconds: `(utterances,)`, falling.
        max_seconds, max_padding: see `LengthBucketedSampler`.
    """
    buckets: list[Bucket] = []
    first = 0
    while first < len(seconds):
        size = int(max_seconds / seconds[first])
        near = np.searchsorted(-seconds, -(1 - max_padding) * seconds[first], side="right") - first
        batches = max(1, int(near) // size)
        end = min(first + batches * size, len(seconds))
        if buckets and end - first < int(max_seconds / seconds[buckets[-1].first]):
            # So few are left, all of them short, that the last bucket had better make one more batch with them.
            first, _, batches = buckets.pop()
            batches += 1
        buckets.append(Bucket(first, end, batches))
        first = end
    return buckets
