"""Batches of speakers that the classifier takes for one another."""

from collections.abc import Iterator

import numpy as np

from speakerlab import InputError
from speakerlab.data.batches import Batches, Items, order_generator
from speakerlab.data.samplers.walk import walk


class HardSpeakersSampler:
    """Batches of `anchors` speakers, each with the `similar` - 1 speakers that are most similar to it.

    Hard prototype mining: Thienpondt, Desplanques, Demuynck: "Cross-lingual speaker verification with domain-balanced
    hard prototype mining and language-dependent score normalization", Interspeech 2020. Similarity is the cosine of
    the classifier's weight rows. The callback `SimilarSpeakers` sets `neighbours` every few epochs; until then, the
    batches are of random speakers.

    Every speaker is an anchor about equally often. No speaker is twice in a batch: the next in the list of
    neighbours takes the place of one that is there already, and a random speaker that of a list that is used up. Within
    an epoch a speaker's utterances are walked through before any is repeated.

    Args:
        anchors: over all ranks together.
        similar: speakers in a group of similar ones, the anchor among them; a group stays on one rank.
        utterances_per_speaker: in a batch. A batch has `anchors` * `similar` * `utterances_per_speaker` items.
        crops_per_utterance: length of an epoch: how often it visits an utterance on average.

    Attributes:
        neighbours: `(speakers, candidates)` classes, the most similar first; None before the first refresh.
        candidates: how many neighbours are worth knowing.

    Raises:
        ValueError: if there are less than two anchors, less than two similar speakers or a count is not positive.
    """

    def __init__(
        self, anchors: int = 8, similar: int = 8, utterances_per_speaker: int = 1, crops_per_utterance: int = 1
    ):
        for name, value, least in (
            ("anchors", anchors, 2),
            ("similar", similar, 2),
            ("utterances_per_speaker", utterances_per_speaker, 1),
            ("crops_per_utterance", crops_per_utterance, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        self.anchors = anchors
        self.similar = similar
        self.utterances_per_speaker = utterances_per_speaker
        self.crops_per_utterance = crops_per_utterance
        self.group = similar * utterances_per_speaker
        self.candidates = 2 * (similar - 1)
        self.neighbours: np.ndarray | None = None

    def batches_per_epoch(self, items: Items) -> int:
        if self.anchors * self.similar > len(items.counts):
            raise InputError(
                f"sampler.anchors={self.anchors} times sampler.similar={self.similar} make "
                f"{self.anchors * self.similar} speakers a batch: there are only {len(items.counts)}"
            )
        if self.utterances_per_speaker > items.counts.max():
            raise InputError(
                f"sampler.utterances_per_speaker={self.utterances_per_speaker}: no speaker has so many utterances; "
                f"the most that one has is {items.counts.max()}"
            )
        return max(1, round(len(items) * self.crops_per_utterance / (self.anchors * self.group)))

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        count = self.batches_per_epoch(items)
        speakers = self._speakers(order_generator(seed, epoch), len(items.counts), count)
        rows = walk(items, speakers, occurrences(speakers), self.utterances_per_speaker, [seed, epoch])
        return Batches.even(rows.ravel(), count)

    def _speakers(self, generator: np.random.Generator, speakers: int, count: int) -> np.ndarray:
        """`(count * anchors * similar,)` classes, batch after batch, group after group, the anchor first."""
        anchors, fillers = endless(generator, speakers), endless(generator, speakers)
        waiting: list[int] = []  # were to be anchors of a batch that had them already
        found: list[int] = []
        for _ in range(count):
            batch: dict[int, None] = {}  # a set that keeps its order
            for group in range(1, self.anchors + 1):
                anchor = next_anchor(batch, waiting, anchors)
                batch[anchor] = None
                neighbours = [] if self.neighbours is None else self.neighbours[anchor].tolist()
                for candidate in neighbours:
                    if len(batch) == group * self.similar:
                        break
                    batch[candidate] = None  # changes nothing if it is there
                while len(batch) < group * self.similar:
                    batch[next(fillers)] = None
            found += batch
        return np.array(found)


def next_anchor(batch: dict[int, None], waiting: list[int], anchors: Iterator[int]) -> int:
    """The first that is not in the batch, of those that wait and then of those to come."""
    place = next((place for place, anchor in enumerate(waiting) if anchor not in batch), None)
    if place is not None:
        return waiting.pop(place)
    while (anchor := next(anchors)) in batch:
        waiting.append(anchor)
    return anchor


def endless(generator: np.random.Generator, speakers: int) -> Iterator[int]:
    """All speakers in a random order, then in another, and so on."""
    while True:
        yield from generator.permutation(speakers).tolist()


def occurrences(values: np.ndarray) -> np.ndarray:
    """How often each value has occurred before.

    >>> occurrences(np.array([7, 3, 7, 7, 3])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)  # where the run of equal values begins
    counted = np.empty(len(values), np.int64)
    counted[order] = np.arange(len(values)) - first
    return counted
