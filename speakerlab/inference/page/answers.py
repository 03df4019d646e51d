"""What the page's buttons do: from uploaded files to HTML. A fault is an answer too, and costs nobody else anything."""

import sys
import threading
import traceback
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from speakerlab import InputError
from speakerlab.data.audio import AudioError
from speakerlab.inference.decisions import Verification
from speakerlab.inference.gallery import Source, checked_name
from speakerlab.inference.hearing import Heard, check_header, hear
from speakerlab.inference.page import looks
from speakerlab.inference.page.limits import Limits
from speakerlab.inference.page.spectrogram import mel_spectrogram
from speakerlab.inference.page.uploads import Uploads
from speakerlab.inference.recognizer import SpeakerRecognizer

# Draws a recording: its waveform, the sample rate, the mel spectrogram, attention or None, and the seconds of that.
Draw = Callable[[np.ndarray, int, np.ndarray, np.ndarray | None, float], str]
SHORTEST_SHOWN = 0.1  # seconds


class Listened(NamedTuple):
    """An uploaded recording under the name that it had."""

    name: str
    heard: Heard


class Answers:
    """What one model answers.

    Args:
        recognizer: the model.
        uploads: where recordings are.
        limits: on their lengths and numbers.
        draw: makes an SVG.
    """

    def __init__(self, recognizer: SpeakerRecognizer, uploads: Uploads, limits: Limits, draw: Draw):
        self.recognizer, self.uploads, self.limits, self.draw = recognizer, uploads, limits, draw
        self.no_attention = ""  # why there is none, where there is none
        self._model = threading.Lock()

    def compare(self, first: object, second: object, threshold: float) -> tuple[str, str, str, Verification | None]:
        """The verdict, both recordings' pictures, and what `decide` needs; a fault in place of the verdict."""
        try:
            both = [self._listen(path, which) for path, which in ((first, "first"), (second, "second"))]
            rate = self.recognizer.card.sample_rate
            with self._model:
                found = self.recognizer.verify(
                    both[0].heard.waveform, both[1].heard.waveform, float(threshold), sample_rate=rate
                )
                pictures = [self._picture(one) for one in both]
        except Exception as error:
            return self._fault(error), "", "", None
        return self._verdict(found, float(threshold)), *pictures, found

    def decide(self, found: Verification | None, threshold: float) -> str:
        """The verdict of what was compared at another threshold; nothing before there is something."""
        try:
            return "" if found is None else self._verdict(found, float(threshold))
        except Exception as error:
            return self._fault(error)

    def enroll(self, name: object, files: object, recorded: object) -> tuple[str, str]:
        """What was enrolled, and everybody who is."""
        try:
            name, paths = checked_name(str(name or "").strip()), [*(files or []), *([recorded] if recorded else [])]
            if not paths:
                raise InputError("upload or record a voice first")
            if len(paths) > self.limits.files:
                raise InputError(f"{len(paths)} files are too many at once; at most {self.limits.files} are taken")
            rows, sources, faults = [], [], []
            for path in paths:
                try:
                    one = self._listen(path, "a")
                    with self._model:
                        rows.append(self.recognizer.embed(one.heard.waveform, self.recognizer.card.sample_rate))
                    sources.append(Source(one.name, one.heard.seconds))
                except InputError as error:
                    faults.append(_one_line(error))
            if not rows:
                raise InputError("; ".join(faults[:3]))
            new = self.recognizer.gallery.add(name, np.stack(rows), sources)
            said = f"{name}: {new} recording{'' if new == 1 else 's'} added"
            known = (f"{len(rows) - new} were there already",) if new < len(rows) else ()
            box = looks.answer("no" if faults else "yes", said, {}, (*known, *(f"not taken: {one}" for one in faults)))
        except Exception as error:
            box = self._fault(error)
        return box, self.people()

    def identify(self, path: object, threshold: float) -> tuple[str, str]:
        """Who it is, and the recording's picture."""
        try:
            one = self._listen(path, "a")
            with self._model:
                found = self.recognizer.identify(
                    one.heard.waveform, threshold=float(threshold), sample_rate=self.recognizer.card.sample_rate
                )
                return looks.identified(found), self._picture(one)
        except Exception as error:
            return self._fault(error), ""

    def people(self) -> str:
        """Everybody who is enrolled."""
        try:
            return looks.enrolled(self.recognizer.gallery.speakers())
        except Exception as error:
            return self._fault(error)

    def _listen(self, path: object, which: str) -> Listened:
        """
        Raises:
            InputError: if it can't be used; `which` says which there is none of.
        """
        if path is None:
            raise InputError(
                f"upload or record the {which} recording first" if which != "a" else "upload or record one"
            )
        audio = self.uploads.read(path)
        info = check_header(audio)  # before anything is decoded
        seconds = info.samples / info.sample_rate
        if seconds > self.limits.seconds:
            raise AudioError(
                audio, f"lasts {seconds:,.0f} s; this page takes at most {self.limits.seconds:g} s: cut it"
            )
        return Listened(audio.name, hear(audio, None, self.recognizer.card.sample_rate))

    def _picture(self, one: Listened) -> str:
        """The recording as HTML; the model is this thread's own."""
        rate, waveform = self.recognizer.card.sample_rate, one.heard.waveform
        attention, seconds = self._attention(waveform)
        svg = self.draw(waveform, rate, mel_spectrogram(waveform, rate), attention, seconds)
        return looks.recording(one.name, one.heard.seconds, svg, one.heard.notes)

    def _attention(self, waveform: np.ndarray) -> tuple[np.ndarray | None, float]:
        """`(frames of the pooling,)`, multiples of an average's weight, and the seconds that they last."""
        network = getattr(self.recognizer.engine, "network", None)
        if network is None:
            self.no_attention = "an ONNX model gives embeddings alone, so that there is no attention to draw"
            return None, 0.0
        from speakerlab.inference.attention import attend, attentive_branch

        try:
            found = attend(attentive_branch(network), waveform, self.recognizer.card.sample_rate)
        except InputError as error:
            self.no_attention = _one_line(error)
            return None, 0.0
        return found.relative.mean(axis=0), found.seconds

    def _verdict(self, found: Verification, threshold: float) -> str:
        notes = (*found.notes, *([self.no_attention] if self.no_attention else []))
        return looks.verdict(found.score, found.probability, found.llr, threshold, notes)

    def _fault(self, error: Exception) -> str:
        """A line for the user; what is no mistake of theirs is told in full on the server."""
        if isinstance(error, InputError):
            return looks.fault(_one_line(error))
        traceback.print_exception(error, file=sys.stderr)
        return looks.fault(f"a fault of the program, {type(error).__name__}; the server says more, and goes on")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
