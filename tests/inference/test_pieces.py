"""Long recordings are embedded in equal pieces."""

import numpy as np
import pytest
from recognizers import KnownEngine, card

from speakerlab import InputError
from speakerlab.inference import pieces
from speakerlab.inference.hearing import Heard
from speakerlab.inference.pieces import checked_rows, embed_heard


def heard(seconds: float) -> Heard:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(16000 * seconds)).astype(np.float32)
    return Heard(samples, seconds, ())


def test_five_minutes_are_one_piece_and_more_are_equal_ones(monkeypatch):
    engine = KnownEngine(card())
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 1.0)
    row, note = embed_heard(engine, heard(1.0))
    assert engine.batches == [[16000]] and note == ()
    np.testing.assert_array_equal(row, engine([heard(1.0).waveform])[0])

    engine, long = KnownEngine(card()), heard(2.5)
    row, note = embed_heard(engine, long)
    assert engine.batches == [[13334], [13333], [13333]]
    assert note == ("0.0 minutes were embedded in 3 pieces and averaged",)
    parts = np.stack([engine([part])[0] for part in np.split(long.waveform, [13334, 26667])]).astype(np.float64)
    norms = np.linalg.norm(parts, axis=1)
    np.testing.assert_allclose(row, (parts / norms[:, None]).mean(axis=0) * norms.mean(), rtol=1e-5)
    assert row.dtype == np.float32 and pieces.PIECE_SECONDS == 1.0


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_embeddings_without_a_direction_are_refused(value):
    with pytest.raises(InputError, match="no finite embedding"):
        checked_rows(np.array([[1.0, 2.0], [value, value]]))
