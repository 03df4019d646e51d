"""One recording to one embedding, however long it is."""

import math

import numpy as np

from speakerlab import InputError
from speakerlab.inference.engines import Engine
from speakerlab.inference.hearing import Heard
from speakerlab.scoring.cosine import unit_rows

PIECE_SECONDS = 300.0  # a longer recording is embedded in pieces, so that memory does not grow with it


def embed_heard(engine: Engine, heard: Heard) -> tuple[np.ndarray, tuple[str, ...]]:
    """The embedding `(embed_dim,)` of one recording, and a note if it was embedded in pieces.

    Raises:
        InputError: if it is too short for the model, or the model gives no finite embedding of it.
    """
    pieces = math.ceil(heard.seconds / PIECE_SECONDS)
    if pieces == 1:
        return checked_rows(engine([heard.waveform]))[0], ()
    rows = checked_rows(np.concatenate([engine([piece]) for piece in np.array_split(heard.waveform, pieces)]))
    # The mean direction, at the usual length: pieces count alike, and length means quality to some.
    row = unit_rows(rows).mean(axis=0) * np.linalg.norm(rows, axis=1).mean()
    note = f"{heard.seconds / 60:.1f} minutes were embedded in {pieces} pieces and averaged"
    return row.astype(np.float32), (note,)


def checked_rows(rows: np.ndarray) -> np.ndarray:
    """Embeddings `(recordings, embed_dim)` as they are.

    Raises:
        InputError: if one of them is zero, NaN or infinite.
    """
    if not (np.isfinite(rows).all() and rows.any(axis=1).all()):
        raise InputError("the model gives no finite embedding of it")
    return rows
