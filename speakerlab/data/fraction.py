"""A share of the training utterances, the same share of each speaker, for trials that are to be cheap."""

from dataclasses import replace
from math import ceil

import numpy as np

from speakerlab.data.shards.index import ShardIndex

KEY = 0xF4AC  # tells this choice's generator from the others of a seed
LEAST = 2  # utterances of a speaker, where there are so many: a metric loss compares two


def check_fraction(fraction: float) -> None:
    """ValueError unless it lies above 0 and is at most 1."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction} must lie above 0 and be at most 1, which is all")


def fraction_rows(classes: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The rows that stay, in their order: of each speaker `fraction`, rounded, but no fewer than two if there are two.

    What a smaller fraction keeps, a larger one keeps too, so that successive halving adds to what was seen.

    Args:
        classes: `(rows,)` speaker of each, from 0 up.
        fraction: above 0, at most 1.
        seed: of the choice.

    >>> fraction_rows(np.array([0, 0, 0, 0, 1, 1, 1, 1, 2]), 0.5, seed=1)
    array([2, 3, 4, 6, 8])
    """
    counts = np.bincount(classes)
    kept = np.maximum(np.rint(fraction * counts).astype(np.int64), np.minimum(counts, LEAST))  # (speakers,)
    draws = np.random.default_rng([seed, KEY]).random(len(classes))
    order = np.lexsort((draws, classes))  # speaker by speaker, each one's rows shuffled
    first = np.cumsum(counts) - counts
    place = np.empty(len(classes), np.int64)
    place[order] = np.arange(len(classes)) - np.repeat(first, counts)  # of each row among its speaker's
    return np.flatnonzero(place < kept[classes])


def fraction_of_shards(index: ShardIndex, fraction: float, seed: int) -> ShardIndex:
    """An index of that share of the shards, at least one: whole files, whose speakers are mixed as they were packed.

    All speakers stay classes, also those of whom no utterance is left.
    """
    order = np.random.default_rng([seed, KEY]).permutation(len(index.shards))
    kept = sorted(order[: ceil(fraction * len(order))].tolist())
    return replace(index, shards=tuple(index.shards[number] for number in kept))
