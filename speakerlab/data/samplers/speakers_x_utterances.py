"""P speakers times K utterances a batch, as metric losses need them."""

import numpy as np

from speakerlab import InputError
from speakerlab.data.batches import LEAST, Batches, Items, order_generator
from speakerlab.data.samplers.walk import walk


class SpeakersXUtterancesSampler:
    """Batches of `speakers_per_batch` different speakers with `utterances_per_speaker` different utterances each.

    The utterances of a speaker stand side by side in the batch and stay on one rank. A speaker who has fewer, though
    `min_utterances`, is there with several crops of an utterance. Every batch is full; an epoch is as many batches as
    come nearest to visiting each utterance of those who are drawn `crops_per_utterance` times on average, and visits
    each of them equally often, give or take one. A speaker's utterances are walked through, from epoch to epoch, before
    any is repeated; those of a round that do not fill a visit are left to the next round.

    Args:
        speakers_per_batch: P, over all ranks together.
        utterances_per_speaker: K.
        crops_per_utterance: length of an epoch.
        min_utterances: speakers with fewer are not drawn. Two crops of one utterance share its channel and noise, and
            a loss that is to tell them from others learns these.

    Raises:
        ValueError: if a batch has less than two speakers or a count is not positive.
    """

    def __init__(
        self,
        speakers_per_batch: int = 32,
        utterances_per_speaker: int = 2,
        crops_per_utterance: int = 1,
        min_utterances: int = 2,
    ):
        for name, value, least in (
            ("speakers_per_batch", speakers_per_batch, LEAST),
            ("utterances_per_speaker", utterances_per_speaker, 1),
            ("crops_per_utterance", crops_per_utterance, 1),
            ("min_utterances", min_utterances, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        self.speakers_per_batch = speakers_per_batch
        self.utterances_per_speaker = utterances_per_speaker
        self.crops_per_utterance = crops_per_utterance
        self.min_utterances = min_utterances
        self.group = utterances_per_speaker

    def batches_per_epoch(self, items: Items) -> int:
        most = items.counts.max()
        if self.utterances_per_speaker > most:
            hint = "" if most > 1 else "; choose sampler=random and a loss that classifies, such as loss=aam"
            raise InputError(
                f"sampler.utterances_per_speaker={self.utterances_per_speaker}: no speaker has so many utterances; "
                f"the most that one has is {most}{hint}"
            )
        drawn = self._drawn(items)
        if self.speakers_per_batch > len(drawn):
            few = "" if len(drawn) == len(items.counts) else f" with sampler.min_utterances={self.min_utterances}"
            raise InputError(
                f"sampler.speakers_per_batch={self.speakers_per_batch}: there are only {len(drawn)} speakers{few}"
            )
        batch = self.speakers_per_batch * self.utterances_per_speaker
        return max(1, round(int(items.counts[drawn].sum()) * self.crops_per_utterance / batch))

    def batches(self, items: Items, seed: int, epoch: int) -> Batches:
        count, drawn = self.batches_per_epoch(items), self._drawn(items)
        visits = count * self.speakers_per_batch
        rounds = -(-visits // len(drawn))
        order = distinct_rounds(order_generator(seed, epoch), len(drawn), rounds, self.speakers_per_batch)
        nth = epoch * rounds + np.arange(visits) // len(drawn)
        rows = walk(items, drawn[order[:visits]], nth, self.utterances_per_speaker, [seed])
        return Batches.even(rows.ravel(), count)

    def note(self, items: Items) -> str | None:
        """For the log: who is not drawn; None if everybody is."""
        speakers = len(items.counts)
        left = speakers - len(self._drawn(items))
        if not left:
            return None
        return (
            f"not trained on, with fewer than {self.min_utterances} utterances: {left} of {speakers} speakers; "
            "sampler.min_utterances=1 trains on them too, with several crops of an utterance"
        )

    def _drawn(self, items: Items) -> np.ndarray:
        """Classes of the speakers who have enough utterances."""
        return np.flatnonzero(items.counts >= self.min_utterances)


def distinct_rounds(generator: np.random.Generator, speakers: int, rounds: int, batch: int) -> np.ndarray:
    """`(rounds * speakers,)` a random order of all speakers after the other; none is twice in any batch.

    Args:
        generator: drawn from.
        speakers: how many there are, at least `batch`.
        rounds: orders.
        batch: the result is cut into batches of so many.
    """
    orders: list[np.ndarray] = []
    for done in range(0, rounds * speakers, speakers):
        order = generator.permutation(speakers)
        if done % batch:  # a batch has begun with the end of the previous round: its speakers come last in this one
            begun = np.zeros(speakers, bool)
            begun[orders[-1][-(done % batch) :]] = True
            order = np.concatenate([order[~begun[order]], order[begun[order]]])
        orders.append(order)
    return np.concatenate(orders)
