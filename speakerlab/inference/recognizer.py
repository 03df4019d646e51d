"""A trained model in use: embeddings, whether two recordings are of one speaker, and who of those enrolled it is.

Nothing here imports torch: an ONNX model brings its own engine.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.audio import AudioBytes
from speakerlab.inference.card import ModelCard
from speakerlab.inference.decisions import (
    Candidate,
    Enrolled,
    Identification,
    Verification,
    prior_log_odds,
    probability_of,
)
from speakerlab.inference.engines import Engine, load_engine
from speakerlab.inference.fetching import fetch_model, is_url
from speakerlab.inference.hearing import Heard, hear
from speakerlab.inference.many_files import EmbeddedFiles, embed_files
from speakerlab.inference.pieces import embed_heard
from speakerlab.scoring.cosine import cosine_scores, unit_rows

if TYPE_CHECKING:  # a database, which those who only compare need not import
    from speakerlab.inference.gallery import Gallery


class SpeakerRecognizer:
    """A model at work; see `load`.

    Args:
        engine: runs the model.
        gallery: file of the enrolled speakers; None is the usual one, see `gallery.default_gallery`.
        model: where the model is, which the gallery keeps for whoever opens it next.
    """

    def __init__(self, engine: Engine, gallery: str | os.PathLike | None = None, model: str | os.PathLike = ""):
        self.engine = engine
        self._gallery_path, self._model = gallery, model
        self._gallery: Gallery | None = None

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = "auto",
        sha256: str | None = None,
        cache_dir: str | Path | None = None,
        gallery: str | Path | None = None,
        trust: Sequence[str] = (),
        progress: Progress | None = None,
        precision: str = "float32",
    ) -> "SpeakerRecognizer":
        """A trained model, ready to use.

        Args:
            source: a checkpoint, a run's folder (its best checkpoint), an exported folder, an ONNX file, or the https
                address of a checkpoint or ONNX file.
            device: `auto` is the first GPU if there is one; `cpu`, `cuda`, `cuda:1` ...
            sha256: what the file must be; an address needs it, here or at its end (`...#sha256=...`).
            cache_dir: keeps downloads; None is `$SPEAKERLAB_CACHE`, or `~/.cache/speakerlab`.
            gallery: file of enrolled speakers, which the first `enroll` makes; None is the usual one, which
                `speakerlab enroll` uses too.
            trust: classes that a checkpoint may name besides this project's own.
            progress: of a download; called with bytes that are there, and bytes in all (0 if nobody knows).
            precision: `float32`, or `bf16` to multiply in bfloat16: faster where the processor has instructions for
                it, and scores are a little off those of float32.

        Raises:
            InputError: if it is not there, damaged, another file than `sha256` says, or the device is not here.
        """
        if is_url(source):
            path = fetch_model(source, sha256, cache_dir, progress)
        else:
            path = Path(source).expanduser()
            if sha256 is not None:
                check_sha256(path, sha256)
        return cls(load_engine(path, device, tuple(trust), precision), gallery, path.absolute())

    @property
    def card(self) -> ModelCard:
        """What goes with the model."""
        return self.engine.card

    @property
    def gallery(self) -> "Gallery":
        """The enrolled speakers.

        Raises:
            InputError: if the file is another model's, damaged, or no gallery.
        """
        if self._gallery is None:
            from speakerlab.inference.gallery import Gallery, default_gallery

            path, card = self._gallery_path or default_gallery(), self.card
            self._gallery = Gallery(path, card.fingerprint, card.embed_dim, self._model)
        return self._gallery

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

    def embed_many(
        self,
        paths: Sequence[str | os.PathLike],
        batch_size: int = 16,
        num_workers: int = 0,
        progress: Progress | None = None,
    ) -> EmbeddedFiles:
        """Embeddings of files, in their order; see `speakerlab.inference.many_files.embed_files`.

        Args:
            paths: of the files.
            batch_size: files that are embedded at once, as long as they last no more than two minutes together.
            num_workers: processes that read; 0 reads in this one.
            progress: called with the number of files that are done, and of all.
        """
        return embed_files(self.engine, paths, batch_size, num_workers, progress)

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

    def enroll(self, name: str, files: Sequence[str | os.PathLike]) -> Enrolled:
        """Add recordings of a speaker to the gallery; they are on the disk when this returns.

        Args:
            name: of the speaker; one who is known already gets further recordings.
            files: of the speaker's voice alone; those that can't be used are reported.

        Raises:
            InputError: if none can be used, or the gallery does not take the name.
        """
        from speakerlab.inference.gallery import Source, checked_name

        gallery, name = self.gallery, checked_name(name)  # before anything is embedded
        found = self.embed_many(files)
        if not found.names:
            reasons = "; ".join(f"{file}: {reason}" for file, reason in list(found.faults.items())[:3])
            raise InputError(f"{name!r} was not enrolled: {reasons or 'no files were given'}")
        sources = [Source(*one) for one in zip(found.names, found.seconds.tolist(), strict=True)]
        new = gallery.add(name, found.rows, sources)
        return Enrolled(name, new, float(found.seconds.sum()), found.faults, found.notes)

    def identify(
        self,
        audio: Any,
        top: int = 5,
        threshold: float | None = None,
        p_target: float = 0.5,
        sample_rate: int | None = None,
    ) -> Identification:
        """Who of the enrolled speakers it is, or nobody of them.

        Args:
            audio: as of `embed`.
            top: candidates to name at most.
            threshold: the cosine to a speaker's mean embedding below which it is a stranger; None takes the model's
                own.
            p_target: how probable each candidate is before anybody listens.
            sample_rate: of an array, in hertz.

        Raises:
            InputError: if the recording can't be used, a number is out of range, or nobody is enrolled.
        """
        threshold, log_odds = self._threshold(threshold), prior_log_odds(p_target)
        if top < 1:
            raise InputError(f"top={top} must be at least 1")
        names, centroids = self.gallery.centroids()
        if not len(names):
            raise InputError(f"{self.gallery.path}: nobody is enrolled yet")
        row, heard = self._embedded(audio, sample_rate, "the recording")
        scores = np.clip(centroids @ unit_rows(row[None])[0], -1.0, 1.0)
        nearest = np.argsort(-scores, kind="stable")[:top]
        candidates = [Candidate(names[i], float(scores[i]), *self._calibrated(scores[i], log_odds)) for i in nearest]
        accepted = None if threshold is None or candidates[0].score < threshold else candidates[0].name
        return Identification(candidates, accepted, threshold, (*heard.notes, *self._about_decisions(threshold)))

    def _embedded(self, audio: Any, sample_rate: int | None, position: str) -> tuple[np.ndarray, Heard]:
        heard = hear(audio, sample_rate, self.card.sample_rate)
        try:
            row, note = embed_heard(self.engine, heard)
        except InputError as error:
            raise InputError(f"{named(audio, position)}: {error}") from error
        return row, replace(heard, notes=(*heard.notes, *note))

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


def is_file(audio: Any) -> bool:
    """Whether it is a recording's file, and no array."""
    return isinstance(audio, str | os.PathLike | AudioBytes)


def named(audio: Any, position: str) -> str:
    """What messages call a recording."""
    return str(audio) if is_file(audio) else position


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
