"""Batches of utterances of similar length."""

from collections.abc import Iterator

import numpy as np


class LengthBatches:
    """A `batch_sampler`: utterances of similar length together, the longest first, at most `max_seconds` a batch.

    The longest come first so that a batch that does not fit into memory fails at once.

    Args:
        seconds: length of each utterance.
        max_seconds: padded length of a batch; a longer utterance is a batch of its own.
        rank, world_size: this process takes every `world_size`-th batch.
        most: utterances in a batch; None is as many as last `max_seconds`.
    """

    def __init__(
        self,
        seconds: np.ndarray,
        max_seconds: float = 120.0,
        rank: int = 0,
        world_size: int = 1,
        most: int | None = None,
    ):
        batches: list[list[int]] = []
        for index in np.argsort(-seconds, kind="stable").tolist():
            full = not batches or (len(batches[-1]) + 1) * seconds[batches[-1][0]] > max_seconds
            if full or len(batches[-1]) == most:
                batches.append([])
            batches[-1].append(index)
        self.batches = batches[rank::world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
