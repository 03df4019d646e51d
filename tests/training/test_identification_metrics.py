"""Two processes that each see a part of the utterances, against one that sees them all."""

import numpy as np
import pytest
import torch
from ranks import on_ranks

from speakerlab.scoring.identification import Guesses, guesses_of, identification_metrics
from speakerlab.training.identification_metrics import IdentificationMetrics


def utterances() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    speakers = rng.integers(0, 9, 50)
    logits = rng.normal(size=(50, 9))
    logits[np.arange(50), speakers] += 1
    return logits, speakers


def _measure(rank: int, end: int) -> dict[str, float]:
    logits, speakers = utterances()
    mine = slice(0, end) if rank == 0 else slice(end, None)
    metrics = IdentificationMetrics()
    metrics.update(guesses_of(logits[mine], speakers[mine]), torch.from_numpy(speakers[mine]))
    return metrics.compute()


@pytest.mark.parametrize("end", [20, 50])
def test_ranks_together_see_every_utterance_once(tmp_path, end):
    logits, speakers = utterances()
    expected = identification_metrics(guesses_of(logits, speakers), speakers)
    assert on_ranks(tmp_path, _measure, end) == [expected, expected]


def test_utterances_add_up():
    logits, speakers = utterances()
    metrics = IdentificationMetrics()
    for part in np.array_split(np.arange(50), 7):
        guesses = guesses_of(logits[part], speakers[part])
        assert isinstance(guesses, Guesses)
        metrics.update(guesses, torch.from_numpy(speakers[part]))
    assert metrics.compute() == identification_metrics(guesses_of(logits, speakers), speakers)
