"""A trained model in use: embeddings, and whether two recordings are of one speaker.

Nothing here imports torch: an ONNX model brings its own engine.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speakerlab import InputError
from speakerlab.data.audio import AudioBytes
from speakerlab.inference.card import ModelCard
from speakerlab.inference.engines import Engine, load_engine
from speakerlab.inference.hearing import Heard, hear
from speakerlab.scoring.cosine import cosine_scores, unit_rows

PIECE_SECONDS = 300.0  # a longer recording is embedded in pieces, so that memory does not grow with it


@dataclass(frozen=True)
class Verification:
    """Whether two recordings are of one speaker.

    Attributes:
        score: their cosine, as `python evaluate.py` scores them.
        same: whether it reaches the threshold; None where there is none.
        threshold: that was applied: the caller's, or the model's own.
        llr: calibrated log-likelihood ratio of "same" to "different"; None without a calibration.
        probability: that they are of one speaker, at the prior asked for; None without a calibration.
        notes: what a listener should know, such as "a.wav: clipped ...".
    """

    score: float
    same: bool | None
    threshold: float | None
    llr: float | None
    probability: float | None
    notes: tuple[str, ...]


class SpeakerRecognizer:
    """A model at work; see `load`.

    Args:
        engine: runs the model.
    """

    def __init__(self, engine: Engine):
        self.engine = engine

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = "auto",
        sha256: str | None = None,
        trust: Sequence[str] = (),
    ) -> "SpeakerRecognizer":
        """A trained model, ready to use.

        Args:
            source: a checkpoint, a run's folder (its best checkpoint), an exported folder or an ONNX file.
            device: `auto` is the first GPU if there is one; `cpu`, `cuda`, `cuda:1` ...
            sha256: what the file must be.
            trust: classes that a checkpoint may name besides this project's own.

        Raises:
            InputError: if it is not there, damaged, another file than `sha256` says, or the device is not here.
        """
        path = Path(source).expanduser()
        if sha256 is not None:
            check_sha256(path, sha256)
        return cls(load_engine(path, device, tuple(trust)))

    @property
    def card(self) -> ModelCard:
        """What goes with the model."""
        return self.engine.card

    def embed(self, audio: Any, sample_rate: int | None = None) -> np.ndarray:
        """The embedding `(embed_dim,)` float32 of a recording.

        Args:
            audio: a path, or an array or tensor `(samples,)`, `(channels, samples)` or `(samples, channels)` of floats
                in [-1, 1], int16 or int32.
            sample_rate: of an array, in hertz; a file says its own.

        Raises:
            InputError: if it can't be used; see `speakerlab.inference.hearing.hear`.
        """
        return self._embedded(audio, sample_rate, "the recording")[0]

    def verify(
        self,
        first: Any,
        second: Any,
        threshold: float | None = None,
        p_target: float = 0.5,
        sample_rate: int | None = None,
    ) -> Verification:
        """Whether two recordings are of one speaker.

        Args:
            first, second: as `audio` of `embed`.
            threshold: the cosine from which on they are; None takes the model's own.
            p_target: how probable it is that they are, before anybody listens: for `probability`.
            sample_rate: of arrays, in hertz.

        Raises:
            InputError: if one can't be used, or a number is out of range.
        """
        threshold, log_odds = self._threshold(threshold), prior_log_odds(p_target)
        rows, notes = [], []
        for audio, position in ((first, "the first"), (second, "the second")):
            row, heard = self._embedded(audio, None if is_file(audio) else sample_rate, position)
            rows.append(row)
            notes += [f"{named(audio, position)}: {note}" for note in heard.notes]
        score = float(cosine_scores(np.stack(rows), [0], [1])[0])
        llr, probability = self._calibrated(score, log_odds)
        notes += self._about_decisions(threshold)
        same = None if threshold is None else score >= threshold
        return Verification(score, same, threshold, llr, probability, tuple(dict.fromkeys(notes)))

    def _embedded(self, audio: Any, sample_rate: int | None, position: str) -> tuple[np.ndarray, Heard]:
        heard = hear(audio, sample_rate, self.card.sample_rate)
        try:
            row, note = embed_heard(self.engine, heard)
        except InputError as error:
            raise InputError(f"{named(audio, position)}: {error}") from error
        return row, Heard(heard.waveform, heard.seconds, (*heard.notes, *note))

    def _threshold(self, given: float | None) -> float | None:
        if given is None:
            return self.card.threshold
        if not -1.0 <= given <= 1.0:
            raise InputError(f"threshold={given} must lie in -1 to 1: scores are cosines")
        return float(given)

    def _calibrated(self, score: float, log_odds: float) -> tuple[float | None, float | None]:
        """Log-likelihood ratio and probability of a score."""
        kept = self.card.calibration
        if kept is None or not kept.of_cosines:
            return None, None
        llr = float(kept.calibration.llrs([[score]])[0])
        return llr, probability_of(llr + log_odds)

    def _about_decisions(self, threshold: float | None) -> list[str]:
        kept, notes = self.card.calibration, []
        if threshold is None:
            notes.append(f"no threshold, so no decision: {self.card.threshold_from}")
        if kept is not None and not kept.of_cosines:
            notes.append("the model's calibration is of another scoring than the cosine and not applied")
        return notes


def embed_heard(engine: Engine, heard: Heard) -> tuple[np.ndarray, tuple[str, ...]]:
    """The embedding `(embed_dim,)` of one recording, and a note if it was embedded in pieces.

    Raises:
        InputError: if it is too short for the model, or the model gives no finite embedding of it.
    """
    pieces = math.ceil(heard.seconds / PIECE_SECONDS)
    if pieces == 1:
        return _checked(engine([heard.waveform]))[0], ()
    rows = _checked(np.concatenate([engine([piece]) for piece in np.array_split(heard.waveform, pieces)]))
    # The mean direction, at the usual length: pieces count alike, and length means quality to some.
    row = unit_rows(rows).mean(axis=0) * np.linalg.norm(rows, axis=1).mean()
    note = f"{heard.seconds / 60:.1f} minutes were embedded in {pieces} pieces and averaged"
    return row.astype(np.float32), (note,)


def _checked(rows: np.ndarray) -> np.ndarray:
    if not (np.isfinite(rows).all() and rows.any(axis=1).all()):
        raise InputError("the model gives no finite embedding of it")
    return rows


def is_file(audio: Any) -> bool:
    """Whether it is a recording's file, and no array."""
    return isinstance(audio, str | os.PathLike | AudioBytes)


def named(audio: Any, position: str) -> str:
    """What messages call a recording."""
    return str(audio) if is_file(audio) else position


def prior_log_odds(p_target: float) -> float:
    """Raises InputError for what is no probability."""
    if not 0.0 < p_target < 1.0:
        raise InputError(f"p_target={p_target} must lie between 0 and 1, both excluded")
    return math.log(p_target) - math.log1p(-p_target)


def probability_of(log_odds: float) -> float:
    """
    >>> probability_of(0.0), probability_of(-1000.0), probability_of(1000.0)
    (0.5, 0.0, 1.0)
    """
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    return math.exp(log_odds) / (1.0 + math.exp(log_odds))


def check_sha256(path: Path, sha256: str) -> None:
    """Refuse a file that is another than this.

    Raises:
        InputError: if it is, or there is none.
    """
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); sha256= is of a file") from error
    if found != sha256.lower():
        raise InputError(f"{path}: is not the file that was asked for: its SHA-256 is {found}")
