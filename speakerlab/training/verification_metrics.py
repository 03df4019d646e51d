"""Metrics of scored trials as a TorchMetrics metric, whose ranks each see a part of the trials."""

import torch
from torch import Tensor
from torchmetrics import Metric

from speakerlab.scoring.metrics import verification_metrics


class VerificationMetrics(Metric):
    """`update(scores, labels)` on each rank, `compute()` the metrics of all ranks' trials together.

    They are those of `speakerlab.scoring.metrics.verification_metrics`, in float64 whatever the scores are.

    >>> metrics = VerificationMetrics()
    >>> metrics.update(torch.tensor([0.9, 0.7, 0.4]), torch.tensor([1, 1, 0]))
    >>> metrics.update(torch.tensor([0.2, 0.1]), torch.tensor([1, 0]))
    >>> round(metrics.compute()["eer"], 4)
    0.3333
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        # A rank that got nothing new must join in again, and not give what it remembers.
        super().__init__(compute_with_cache=False)
        # One type for all states: a rank without any trial joins in with empty tensors of the metric's own type.
        self.set_dtype(torch.float64)
        for name in ("scores", "labels"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add trials.

        Args:
            scores: `(trials,)`.
            labels: `(trials,)`, 1 for the same speaker, 0 for different speakers.
        """
        self.scores.append(scores.to(self.device, self.dtype))
        self.labels.append(labels.to(self.device, self.dtype))

    def compute(self) -> dict[str, float]:
        """Name -> value; errors as in `speakerlab.scoring.metrics.checked_trials`."""
        return verification_metrics(joined(self.scores).numpy(), joined(self.labels).numpy())


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """A state on the CPU, whether or not ranks have been joined to one tensor."""
    parts = [state] if isinstance(state, Tensor) else state
    return torch.cat([part.cpu() for part in parts]) if parts else torch.zeros(0, dtype=torch.float64)
