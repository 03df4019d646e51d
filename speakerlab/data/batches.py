"""Deals an epoch's batches out to ranks and picks up where a stopped run left off."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from speakerlab import InputError

Key = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Items:
    """What a sampler may know of the utterances that it orders.

    Attributes:
        speakers: `(items,)` class of each.
        seconds: `(items,)` length of each.
    """

    speakers: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.speakers)


class Sampler(Protocol):
    """What `conf/sampler/*.yaml` names; built with `Items` as its first argument. See `speakerlab.data.samplers`."""

    batches_per_epoch: int

    def batches(self, seed: int, epoch: int) -> list[np.ndarray]: ...


class EpochBatches:
    """The `batch_sampler` of a training loader: lists of `(epoch, position in the epoch, item)`.

    Whatever is random about an item is drawn from its epoch and position in the global order, so the number of
    workers and ranks changes nothing, and a resumed epoch yields just the batches that were still to come.

    Args:
        sampler: gives an epoch's global batches.
        seed: of the order.
        rank, world_size: this process among all; each takes every `world_size`-th item of a batch.
    """

    def __init__(self, sampler: Sampler, seed: int, rank: int = 0, world_size: int = 1):
        self.strategy = sampler
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0

    @property
    def sampler(self) -> "EpochBatches":
        """Itself: Lightning announces epochs to `loader.batch_sampler.sampler`, and never to a batch sampler."""
        return self

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
        return self.strategy.batches_per_epoch

    def __iter__(self) -> Iterator[list[Key]]:
        batches = self.strategy.batches(self.seed, self.epoch)
        firsts = np.cumsum([0, *(len(batch) for batch in batches)])
        for first, batch in list(zip(firsts, batches, strict=False))[self.first_batch :]:
            if len(batch) < self.world_size:
                raise InputError(
                    f"a batch of {len(batch)} is too small for {self.world_size} processes: raise sampler.batch_size"
                )
            yield [
                (self.epoch, int(first) + offset, int(batch[offset]))
                for offset in range(self.rank, len(batch), self.world_size)
            ]
