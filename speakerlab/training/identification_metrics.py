"""Metrics of identification as a TorchMetrics metric, whose ranks each see a part of the utterances."""

import torch
from torch import Tensor
from torchmetrics import Metric

from speakerlab.scoring.identification import Guesses, ranked_metrics
from speakerlab.training.verification_metrics import joined


class IdentificationMetrics(Metric):
    """`update(guesses, speakers)` on each rank, `compute()` the metrics of all ranks' utterances together; they are
    those of `speakerlab.scoring.identification.identification_metrics`."""

    higher_is_better = None
    is_differentiable = False
    full_state_update = False

    predicted: list[Tensor]
    rank: list[Tensor]
    speakers: list[Tensor]

    def __init__(self) -> None:
        # A rank that got nothing new must join in again, and not give what it remembers.
        super().__init__(compute_with_cache=False)
        # As in VerificationMetrics; it holds every class number exactly.
        self.set_dtype(torch.float64)
        for name in ("predicted", "rank", "speakers"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, guesses: Guesses, speakers: Tensor) -> None:
        """Add utterances.

        Args:
            guesses: see `Guesses`; what it says of probabilities does not count.
            speakers: `(utterances,)` true classes.
        """
        for state, values in (
            (self.predicted, guesses.predicted),
            (self.rank, guesses.rank),
            (self.speakers, speakers),
        ):
            state.append(torch.as_tensor(values).to(self.device, self.dtype))

    def compute(self) -> dict[str, float]:
        """Name -> value; errors as in `identification_metrics`."""
        predicted, rank, speakers = (
            joined(state).long().numpy() for state in (self.predicted, self.rank, self.speakers)
        )
        return ranked_metrics(predicted, rank, speakers)
