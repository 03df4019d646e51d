"""Every utterance once an epoch, in random order."""

import math

import numpy as np

from speakerlab.data.batches import Items


class RandomSampler:
    """Each utterance `crops_per_utterance` times an epoch, shuffled, in batches of nearly equal size.

    The epoch is cut into as few batches as `batch_size` allows, whose sizes differ by one at most: nothing is dropped,
    and batch norm never sees a batch of two left over at the end.

    Args:
        items: what to sample from.
        batch_size: largest batch, over all ranks together.
        crops_per_utterance: how often an epoch visits each utterance; above 1 for small corpora of long utterances.

    Raises:
        ValueError: if a count is not positive.
    """

    def __init__(self, items: Items, batch_size: int = 32, crops_per_utterance: int = 1):
        if batch_size < 2:
            raise ValueError(f"batch_size={batch_size} must be at least 2, since batch norm needs two items")
        if crops_per_utterance < 1:
            raise ValueError(f"crops_per_utterance={crops_per_utterance} must be at least 1")
        self.items = len(items)
        self.crops_per_utterance = crops_per_utterance
        self.batches_per_epoch = math.ceil(self.items * crops_per_utterance / batch_size)

    def batches(self, seed: int, epoch: int) -> list[np.ndarray]:
        """The epoch's batches, each `(batch,)` int64 items."""
        generator = np.random.default_rng([seed, epoch])
        # One permutation after the other, so that the crops of one utterance lie far apart.
        order = np.concatenate([generator.permutation(self.items) for _ in range(self.crops_per_utterance)])
        return np.array_split(order, self.batches_per_epoch)
