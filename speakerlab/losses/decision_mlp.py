"""Speaker identification by a small network over the embedding: a multilayer perceptron with a softmax."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import directions


class DecisionMlp(nn.Module):
    """Cross entropy of an MLP with one hidden layer, in float32; its logits are the speakers' posteriors.

    It is given each embedding's direction, with components of about 1 (length `sqrt(embed_dim)`), so that the angles
    that a cosine scores by are all that it can decide by.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        hidden: units.
        dropout: share of these that a training step leaves out.

    Raises:
        ValueError: if there is no hidden unit, or the share lies outside [0, 1).
    """

    def __init__(self, embed_dim: int, num_speakers: int, hidden: int = 256, dropout: float = 0.2):
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden={hidden} must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to 1, without 1")
        self.gain = math.sqrt(embed_dim)
        self.hidden = nn.Linear(embed_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, num_speakers)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = self.gain * directions(embeddings.float())  # (batch, embed_dim)
            logits = self.out(self.dropout(F.relu(self.hidden(units))))  # (batch, num_speakers)
            loss = F.cross_entropy(logits, speakers)
        return loss, logits.detach()

    def speaker_weights(self) -> Tensor:
        """`(num_speakers, hidden)`: each speaker's row."""
        return self.out.weight.detach()
