"""Weights that a gate derives from all branches together.

With one weight a branch: Shon, Oh, Glass: "Noise-Tolerant Audio-Visual Online Person Verification Using an
Attention-Based Neural Network Fusion", ICASSP 2019. With one a branch and dimension: Arevalo, Solorio, Montes-y-Gomez,
Gonzalez: "Gated Multimodal Units for Information Fusion", ICLR workshop 2017, whose sigmoid of two branches is the
softmax here, of any number.
"""

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """The sum of the branches by softmax weights; see `speakerlab.fusion`.

    It begins with equal trust in all: the gate's weights are zeros.

    Args:
        dims: of all branches' embeddings together, which the gate sees.
        branches: how many.
        width: weights of a branch: 1 for all its dimensions, or one for each.
    """

    def __init__(self, dims: int, branches: int, width: int):
        super().__init__()
        self.shape = (branches, width)
        self.gate = nn.Linear(dims, branches * width)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, flat: Tensor, parts: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.gate(flat).float().unflatten(1, self.shape)  # (batch, branches, width)
        weights = logits.masked_fill(~present[:, :, None], -torch.inf).softmax(dim=1)
        fused = (weights * parts).sum(dim=1)  # (batch, embed_dim)
        return fused, weights.squeeze(2) if self.shape[1] == 1 else weights
