"""Two processes that each see a part of the trials, against one that sees them all."""

import numpy as np
import pytest
import torch
from ranks import on_ranks

from speakerlab import InputError
from speakerlab.scoring.metrics import verification_metrics
from speakerlab.training.verification_metrics import VerificationMetrics


def trials(count: int = 101) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    return (rng.normal(size=count) + labels).round(1), labels


def _measure(rank: int, ends: list[int]) -> list[dict[str, float]]:
    """Twice, since a rank's own trials must be left after they were joined: before and after the rest is added."""
    scores, labels = trials()
    metrics, found = VerificationMetrics(), []
    for part in (slice(0, 60), slice(60, None)):
        mine = slice(0, ends[0]) if rank == 0 else slice(ends[0], None)
        own = scores[part][mine], labels[part][mine]
        if len(own[0]):
            metrics.update(*map(torch.from_numpy, own))
        found.append(metrics.compute())
    return found


# The last: one rank has no trials, and never calls `update`.
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("ends", [[30], [7], [60]])
def test_ranks_together_see_every_trial_once(tmp_path, ends):
    scores, labels = trials()
    expected = [verification_metrics(scores[:60], labels[:60]), verification_metrics(scores, labels)]
    for found in on_ranks(tmp_path, _measure, ends):
        assert found == expected


def test_scores_stay_as_exact_as_they_are():
    metrics = VerificationMetrics()
    metrics.update(torch.tensor([1.0, 1.0 + 1e-15], dtype=torch.float64), torch.tensor([False, True]))
    assert metrics.compute()["eer"] == 0
    metrics.reset()
    with pytest.raises(InputError, match="NaN"):
        metrics.update(torch.tensor([float("nan"), 1.0]), torch.tensor([0, 1]))
        metrics.compute()
