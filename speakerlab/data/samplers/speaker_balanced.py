"""Every speaker equally often, whatever its number of utterances."""

import math

import numpy as np

from speakerlab.data.batches import Batches, Items, order_generator
from speakerlab.data.samplers.walk import walk


class SpeakerBalancedSampler:
    """Each speaker as often as every other in each epoch, in batches of nearly equal size.

    A speaker's utterances are walked through in random order, and none is repeated before all have been visited; the
    walk goes on from epoch to epoch. An epoch consists of rounds in which every speaker occurs once, so that a batch
    holds as many different speakers as it can.

    Args:
        batch_size: largest batch, over all ranks together.
        crops_per_utterance: length of an epoch: how often it visits an utterance on average.

    Raises:
        ValueError: if a count is not positive.
    """

    group = 1

    def __init__(self, batch_size: int = 32, crops_per_utterance: int = 1):
        if batch_size < 2:
            raise ValueError(f"batch_size={batch_size} must be at least 2, since batch norm needs two items")
        if crops_per_utterance < 1:
            raise ValueError(f"crops_per_utterance={crops_per_utterance} must be at least 1")
        self.batch_size = batch_size
        self.crops_per_utterance = crops_per_utterance

    def rounds(self, items: Items) -> int:
        """How often an epoch visits each speaker."""
        return max(1, round(len(items) * self.crops_per_utterance / len(items.counts)))

    def batches_per_epoch(self, items: Items) -> int:
        return math.ceil(self.rounds(items) * len(items.counts) / self.batch_size)

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        rounds, speakers = self.rounds(items), np.arange(len(items.counts))
        order = order_generator(seed, epoch).permuted(np.tile(speakers, (rounds, 1)), axis=1)  # (rounds, speakers)
        visits = np.repeat(epoch * rounds + np.arange(rounds), len(speakers))
        return Batches.even(walk(items, order.ravel(), visits, 1, [seed])[:, 0], self.batches_per_epoch(items))
