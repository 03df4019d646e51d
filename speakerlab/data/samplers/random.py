"""Every utterance once an epoch, in random order."""

import math

import numpy as np

from speakerlab.data.batches import Batches, Items, order_generator


class RandomSampler:
    """Each utterance `crops_per_utterance` times an epoch, shuffled, in batches of nearly equal size.

    The epoch is cut into as few batches as `batch_size` allows, whose sizes differ by one at most: nothing is dropped,
    and batch norm never sees a batch of two left over at the end.

    Args:
        batch_size: largest batch, over all ranks together.
        crops_per_utterance: how often an epoch visits each utterance; above 1 for small corpora of long utterances.

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

    def batches_per_epoch(self, items: Items) -> int:
        return math.ceil(len(items) * self.crops_per_utterance / self.batch_size)

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        generator = order_generator(seed, epoch)
        # One permutation after the other, so that the crops of one utterance lie far apart.
        order = np.concatenate([generator.permutation(len(items)) for _ in range(self.crops_per_utterance)])
        return Batches.even(order, self.batches_per_epoch(items))
