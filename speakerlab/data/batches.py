"""An epoch's batches: what samplers make, how they are dealt out to ranks, and where a resumed run picks them up."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Protocol

import numpy as np

from speakerlab import InputError

Key = tuple[int, int, int]
ORDER = 0x04DE  # tells the generator of an epoch's order from those of its items, which have (seed, epoch, ...) too
LEAST = 2  # groups of a batch that every rank must get: batch norm needs two items, a metric loss two speakers


@dataclass(frozen=True, eq=False)
class Items:
    """What a sampler may know of the utterances that it orders.

    Attributes:
        speakers: `(items,)` class of each, from 0 up; no class is empty.
        seconds: `(items,)` length of each, as it is trained on.
    """

    speakers: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.speakers)

    @cached_property
    def counts(self) -> np.ndarray:
        """`(speakers,)` utterances of each speaker."""
        return np.bincount(self.speakers)

    @cached_property
    def by_speaker(self) -> np.ndarray:
        """`(items,)` the items in the order of their speakers, `counts` of each."""
        return np.argsort(self.speakers, kind="stable")


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of an epoch, those of all ranks together; `batches[i]` is `(batch,)` items.

    Attributes:
        order: `(positions,)` item at each position of the epoch.
        bounds: `(batches + 1,)` first position of each batch, and the end of the last.
    """

    order: np.ndarray
    bounds: np.ndarray

    @classmethod
    def even(cls, order: np.ndarray, count: int) -> "Batches":
        """`count` batches whose sizes differ by one at most."""
        return cls(order, np.arange(count + 1) * len(order) // count)

    @property
    def sizes(self) -> np.ndarray:
        """`(batches,)` items in each."""
        return np.diff(self.bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, batch: int) -> np.ndarray:
        return self.order[self.bounds[batch] : self.bounds[batch + 1]]


class Sampler(Protocol):
    """What `conf/sampler/*.yaml` names: settings alone, checked when it is made; see `speakerlab.data.samplers`.

    It may have `note(items)` too: a line for the run's log, or None.

    Attributes:
        group: so many neighbours in a batch stay on one rank, such as the utterances of a speaker. It divides every
            batch.
    """

    group: int

    def batches_per_epoch(self, items: Items) -> int:
        """The same for every epoch.

        Raises:
            InputError: if there are too few items for these settings.
        """
        ...

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        """A pure function of its arguments: the same on every rank and after every resume."""
        ...


class EpochBatches:
    """The `batch_sampler` of a training loader: lists of `(epoch, position in the epoch, item)`.

    Whatever is random about an item is drawn from its epoch and position in the global order, so the number of
    workers and ranks changes nothing, and a resumed epoch yields just the batches that were still to come.

    Args:
        sampler: gives an epoch's global batches.
        items: what it orders.
        seed: of the order.
        rank, world_size: this process among all; each takes every `world_size`-th group of a batch.

    Raises:
        InputError: if there are too few items for the sampler.
    """

    def __init__(self, sampler: Sampler, items: Items, seed: int, rank: int = 0, world_size: int = 1):
        self.strategy = sampler
        self.items = items
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0
        self.batches_per_epoch = sampler.batches_per_epoch(items)

    @property
    def sampler(self) -> "EpochBatches":
        """Itself: Lightning announces epochs to `loader.batch_sampler.sampler`, and never to a batch sampler."""
        return self

    def check(self) -> None:
        """Refuse now what iterating would refuse.

        Raises:
            InputError: if batches are too small for the ranks.
        """
        batches = self.strategy.batches(self.items, self.seed, self.epoch)
        check_sizes(batches.sizes, self.strategy.group, self.world_size)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in the middle: `batch` batches of `epoch` are done."""
        self.epoch = epoch
        self.first_batch = batch

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is over `epoch`; called by Lightning before each. A resumed epoch keeps its start."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def __len__(self) -> int:
        """Batches of a whole epoch, however many of them are left: Lightning counts epochs by it."""
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[list[Key]]:
        batches = self.strategy.batches(self.items, self.seed, self.epoch)
        group = self.strategy.group
        check_sizes(batches.sizes, group, self.world_size)
        for batch in range(self.first_batch, len(batches)):
            groups = np.arange(batches.bounds[batch], batches.bounds[batch + 1]).reshape(-1, group)
            positions = groups[self.rank :: self.world_size].ravel()
            yield list(zip(repeat(self.epoch), positions.tolist(), batches.order[positions].tolist(), strict=False))


def check_sizes(sizes: np.ndarray, group: int, world_size: int) -> None:
    """Refuse batches that leave a rank with less than `LEAST` groups.

    Args:
        sizes: `(batches,)` items in each batch.
        group: items that stay together.
        world_size: ranks that share a batch.

    Raises:
        InputError: naming the smallest batch.
    """
    groups = int(sizes.min()) // group
    if groups < LEAST * world_size:
        what = "items" if group == 1 else f"groups of {group} items"
        raise InputError(
            f"sampler: the smallest batch has {groups} {what}, but {LEAST * world_size} are needed ({LEAST} for each "
            f"of {world_size} processes): make its batches larger, or train with fewer processes"
        )


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """What an epoch's order is drawn from."""
    return np.random.default_rng([seed, epoch, 0, 0, ORDER])
