"""Speakers who are enrolled by some utterances and recognised in others, by embeddings alone."""

from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.embedding_files.formats import read_embeddings
from speakerlab.data.trials import Trials
from speakerlab.data.utterances import Utterances, joined_utterances, utterances_in_files, utterances_of_rows
from speakerlab.inference.embedding import Embed, SavedEmbedder
from speakerlab.inference.model import find_rows
from speakerlab.inference.request import ENROLLED, part_of_test
from speakerlab.inference.source import Source
from speakerlab.scoring.enrolled import authenticate, by_centroid, by_neighbours, enrol
from speakerlab.scoring.identification import Guesses


class Part(NamedTuple):
    """Utterances of named speakers, and what embeds them."""

    utterances: Utterances
    embed: Embed


def find_parts(cfg: DictConfig, source: Source) -> tuple[Part, Part]:
    """Whom to enrol, and whom to recognise: two splits of a manifest, or two files of embeddings.

    Raises:
        InputError: if a part has no utterances or speakers, or both have an utterance in common.
    """
    embed = source.systems["model"]
    if cfg.embeddings is not None and cfg.ckpt is None and cfg.manifest is None:
        enrolled, tested = (_saved(one) for one in (read_embeddings(cfg.enrolment, "enrolment"), embed.embeddings))
    else:
        enrolled, tested = (
            Part(utterances_of_rows(find_rows(cfg, source.checkpoint, part)), embed)
            for part in (cfg.enrolment or ENROLLED, part_of_test(cfg))
        )
    both = set(enrolled.utterances.names) & set(tested.utterances.names)
    if both:
        raise InputError(
            f"{len(both):,} of the {len(tested.utterances):,} utterances to recognise are enrolled themselves, such as "
            f"{min(both)}: they would be found for sure"
        )
    return enrolled, tested


def _saved(embeddings: Embeddings) -> Part:
    if embeddings.speakers is None:
        raise InputError(
            f"{embeddings.source}: says no speakers; save it with them (a column speaker), or give manifest=MANIFEST"
        )
    utterances = utterances_in_files(embeddings.names, None, embeddings.speakers)
    return Part(utterances, SavedEmbedder(embeddings, embeddings.source))


def speaker_numbers(enrolled: list[str], tested: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The enrolled speakers' names, sorted, and the number of each utterance's speaker in both parts.

    Raises:
        InputError: if fewer than two are enrolled, or one to recognise is not.
    """
    speakers = sorted(set(enrolled))
    if len(speakers) < 2:
        raise InputError(f"only speaker {speakers[0]} is enrolled: there is nobody to be mistaken for")
    numbers = {speaker: number for number, speaker in enumerate(speakers)}
    strangers = sorted(set(tested) - set(speakers))
    if strangers:
        raise InputError(
            f"{len(strangers):,} of the {len(set(tested)):,} speakers to recognise are not among the {len(speakers):,} "
            f"who are enrolled, such as {strangers[0]}"
        )
    return speakers, *(np.array([numbers[one] for one in part], np.int64) for part in (enrolled, tested))


def joined(first: Part, second: Part, rows: list[np.ndarray]) -> tuple[Utterances, np.ndarray]:
    """Both parts' utterances and their rows."""
    return joined_utterances([first.utterances, second.utterances]), np.concatenate(rows)


def recognise(
    embeddings: list[np.ndarray], known: np.ndarray, classes: np.ndarray, neighbours: int
) -> dict[str, Guesses]:
    """Whom each utterance is taken for, by "centroid" and by "neighbours".

    Args:
        embeddings: `(utterances, dim)` of the enrolled, and of those to recognise.
        known, classes: `(utterances,)` speakers of both.
        neighbours: that vote.
    """
    enrolled = enrol(embeddings[0], known)
    return {
        "centroid": by_centroid(enrolled, embeddings[1], classes),
        "neighbours": by_neighbours(enrolled, embeddings[1], classes, neighbours),
    }


def claim(
    embeddings: list[np.ndarray], known: np.ndarray, classes: np.ndarray, speakers: list[str], names: list[str]
) -> tuple[Trials, np.ndarray]:
    """Claims to be one of the enrolled speakers, true and false, as trials `speaker utterance`, and their scores.

    Args:
        embeddings, known, classes: as in `recognise`.
        speakers: names in class order.
        names: of the utterances to recognise.
    """
    claims = authenticate(enrol(embeddings[0], known), embeddings[1], classes)
    trials = Trials(
        labels=claims.labels,
        enrol=claims.speaker.astype(np.int32),
        test=(len(speakers) + claims.utterance).astype(np.int32),
        utterances=[*speakers, *names],
        lines=np.arange(1, len(claims.labels) + 1, dtype=np.int32),
        source=f"claims of {len(names):,} utterances to be one of {len(speakers):,} enrolled speakers",
    )
    return trials, claims.scores
