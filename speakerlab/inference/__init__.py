"""Trained models at work.

from speakerlab.inference import SpeakerRecognizer

recognizer = SpeakerRecognizer.load("best.ckpt")
print(recognizer.verify("a.wav", "b.wav"))
"""

import importlib
from typing import Any

# Imported when they are asked for: whoever imports a module of this package need not pay for all of it.
EXPORTS = {"SpeakerRecognizer": "speakerlab.inference.recognizer", "ModelCard": "speakerlab.inference.card"}
__all__ = ["ModelCard", "SpeakerRecognizer"]


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(EXPORTS[name]), name)
