"""Walks through the utterances of each speaker, a new random order in every round.

Counter-based: where a speaker's `n`-th visit leads follows from the seed and `n` alone, whatever was visited before.
"""

from collections.abc import Sequence

import numpy as np

from speakerlab.data.batches import Items

WALK = 0x0A1C  # tells its random numbers from those of an epoch's order


def walk(items: Items, speakers: np.ndarray, visits: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """The utterances that visits of speakers lead to.

    A visit takes the next `count` utterances of the speaker's current round, in which no utterance is repeated; a round
    ends when fewer than `count` are left. A speaker with fewer than `count` utterances repeats them within a visit, as
    evenly as it goes.

    Args:
        items: the utterances.
        speakers: `(visits,)` who is visited.
        visits: `(visits,)` for how many times that speaker, from 0.
        count: utterances a visit.
        seed: whole numbers of at least 0.

    Returns:
        `(visits, count)` items.
    """
    visits_a_round = np.maximum(items.counts // count, 1)[speakers]
    rounds, places = np.divmod(visits, visits_a_round)
    # Each (speaker, round) that is touched, whose utterances are put into order as a whole.
    touched, inverse = np.unique(rounds * len(items.counts) + speakers, return_inverse=True)
    touched_rounds, touched_speakers = np.divmod(touched, len(items.counts))
    sizes = items.counts[touched_speakers]
    starts = np.cumsum(sizes) - sizes
    within = np.arange(sizes.sum()) - np.repeat(starts, sizes)
    first_items = np.cumsum(items.counts) - items.counts
    rows = items.by_speaker[np.repeat(first_items[touched_speakers], sizes) + within]
    drawn = random_numbers(np.repeat(touched_rounds, sizes), rows, seed)
    rows = rows[np.lexsort((drawn, np.repeat(np.arange(len(sizes)), sizes)))]
    offsets = (places[:, None] * count + np.arange(count)) % items.counts[speakers][:, None]  # (visits, count)
    return rows[starts[inverse][:, None] + offsets]


def random_numbers(rounds: np.ndarray, rows: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """`(rows,)` uint64, uniform, each a function of the seed, its round and its row.

    NumPy's generators give streams, not numbers by index; this is the finalizer of SplitMix64 (Steele, Lea, Flood:
    "Fast splittable pseudorandom number generators", OOPSLA 2014), applied twice.
    """
    keys = np.random.SeedSequence([*seed, WALK]).generate_state(2, np.uint64)
    return _mix(_mix(rounds.astype(np.uint64) + keys[0]) ^ (rows.astype(np.uint64) + keys[1]))


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of the 64-bit numbers that scatters neighbours; wraps around."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
