"""What goes with a model wherever it goes: what it takes and gives, what it was trained on, how good it is."""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from speakerlab import InputError
from speakerlab.inference.kept_calibration import KeptCalibration, kept_from_plain

METADATA_KEY = "speakerlab_card"  # in the metadata of an ONNX model
LONGEST_JSON, LONGEST_TEXT, MOST_METRICS = 1 << 20, 2000, 1000
RANGES = {
    "sample_rate": (1000, 768_000),
    "embed_dim": (1, 1 << 20),
    "parameters": (0, 1 << 50),
    "speakers": (0, 1 << 40),
}
MARKUP = {ord(sign): f"\\{sign}" for sign in "\\`*_[]|#"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}


@dataclass(frozen=True)
class ModelCard:
    """A model's card.

    Attributes:
        name: of the model.
        sample_rate: that it takes, in hertz.
        embed_dim: of what it gives.
        encoder: its class, or classes of a fusion.
        parameters: their number.
        run: what trained it, such as "ecapa_aam/2026-01-31_12-00-00".
        speakers: that it was trained on.
        trained_on: a line about the training data.
        metrics: "<trial list> <metric>" -> value, rates as shares.
        threshold: the cosine from which on two recordings count as one speaker's; None if nobody measured.
        threshold_from: a line: where it comes from, or how to get one.
        calibration: of its scores; None without.
        fingerprint: SHA-256 of the weights and the config: two models that embed alike share it, however they are kept.
    """

    name: str
    sample_rate: int
    embed_dim: int
    encoder: str
    parameters: int
    run: str
    speakers: int
    trained_on: str
    metrics: dict[str, float]
    threshold: float | None
    threshold_from: str
    calibration: KeptCalibration | None
    fingerprint: str

    def to_json(self) -> str:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["calibration"] = None if self.calibration is None else self.calibration.plain()
        return json.dumps(plain, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelCard":
        """Undo `to_json`.

        Raises:
            InputError: for anything else.
        """
        if len(text) > LONGEST_JSON:
            raise InputError(f"the model's card has {len(text):,} characters; it is none of speakerlab's")
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError("the model's card is damaged: it is no JSON") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(plain, dict) or plain.keys() != names:
            other = sorted(names.symmetric_difference(plain if isinstance(plain, dict) else ()))
            raise InputError(f"the model's card is damaged or of another version of speakerlab: see {other[0]!r:.60}")
        for field in fields(cls):
            _check(field.name, plain[field.name])
        if plain["calibration"] is not None:
            plain["calibration"] = kept_from_plain(plain["calibration"])
        return cls(**plain)

    def markdown(self) -> str:
        """For a README or a page; what the card says is shown as text, whatever is in it."""
        rows = {
            "Encoder": f"{self.encoder}, {self.parameters:,} parameters",
            "Takes": f"speech at {self.sample_rate:,} Hz (other rates and channels are converted)",
            "Gives": f"embeddings of {self.embed_dim} dimensions",
            "Trained on": self.trained_on,
            "Run": self.run,
            "Threshold": f"{'none' if self.threshold is None else f'{self.threshold:.4f}'} ({self.threshold_from})",
            "Calibration": "none" if self.calibration is None else f"learned on {self.calibration.trials}",
            "Fingerprint": self.fingerprint[:16],
        }
        lines = [f"# {_as_text(self.name)}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_as_text(value)} |" for name, value in rows.items()]
        if self.metrics:
            lines += ["", "| Measured | |", "|---|---|"]
            lines += [f"| {_as_text(name)} | {_as_text(_shown(name, value))} |" for name, value in self.metrics.items()]
        limits = (
            "Scores are cosines and mean something on speech like that of the training data alone: another language, "
            "channel or age group, noise, and recordings under a few seconds raise the errors. A threshold belongs to "
            "the recordings that it was measured on. Not a proof of anybody's identity: recorded, converted and "
            "synthetic voices are not told from living ones."
        )
        return "\n".join([*lines, "", "**Limits.** " + limits, ""])


def fingerprint(config: dict, weights: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 of what embeds: the network's config and its weights, by name.

    Args:
        config: plain.
        weights: name and values of each tensor, in any order.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name, values in sorted(weights, key=lambda weight: weight[0]):
        digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).data if values.ndim else values.tobytes())
    return digest.hexdigest()


def _check(name: str, value: Any) -> None:
    """InputError unless a field of the card is what it should be."""
    if name in RANGES:
        low, high = RANGES[name]
        right = type(value) is int and low <= value <= high
    elif name == "metrics":
        right = isinstance(value, dict) and len(value) <= MOST_METRICS
        right = right and all(_is_line(key) and _is_number(one) for key, one in value.items())
    elif name == "threshold":
        right = value is None or (_is_number(value) and -1 <= value <= 1)
    elif name == "calibration":
        right = value is None or isinstance(value, dict)
    elif name == "fingerprint":
        right = isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
    else:
        right = _is_line(value)
    if not right:
        raise InputError(f"the model's card is damaged: its {name} is {value!r:.60}")


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # an integer may be larger than any float


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name.endswith(("eer", "error_rate", "accuracy")) else f"{value:.4g}"


def _as_text(value: str) -> str:
    """Without markup or HTML."""
    return value.translate(MARKUP)
