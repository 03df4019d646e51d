"""Each branch asks all branches, itself among them, with several heads.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: "Attention Is All You Need", NeurIPS 2017,
section 3.2; its tokens are the branches here, which have no order and so no positions.
"""

import torch
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """One layer of multi-head attention over the branches, its residual sum normalised, and the mean over the branches
    that are there; see `speakerlab.fusion`.

    The weight of a branch is the attention that it gets, mean over heads and over the branches that ask.

    Args:
        embed_dim: of the parts and of what comes out.
        heads: that divide it.

    Raises:
        ValueError: if they do not divide it.
    """

    def __init__(self, embed_dim: int, heads: int):
        super().__init__()
        if heads < 1 or embed_dim % heads:
            raise ValueError(f"heads={heads} must divide embed_dim={embed_dim}")
        self.heads = heads
        self.project = nn.Linear(embed_dim, 3 * embed_dim)  # queries, keys and values
        self.out = nn.Linear(embed_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, flat: Tensor, parts: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        by_head = self.project(parts).unflatten(2, (3, self.heads, -1))  # (batch, branches, 3, heads, embed_dim/heads)
        queries, keys, values = by_head.permute(2, 0, 3, 1, 4)  # each (batch, heads, branches, embed_dim / heads)
        scores = (queries @ keys.transpose(2, 3)).float() / queries.shape[-1] ** 0.5
        attention = scores.masked_fill(~present[:, None, None], -torch.inf).softmax(dim=3)  # (batch, heads, asks, is)
        heard = self.out((attention.to(values.dtype) @ values).transpose(1, 2).flatten(2))  # (batch, branches, ...)
        asking = present / present.sum(dim=1, keepdim=True)  # (batch, branches): one that is not there asks nothing
        fused = (asking[:, :, None] * self.norm(parts + heard)).sum(dim=1)
        return fused, (asking[:, :, None] * attention.mean(dim=1)).sum(dim=1)
