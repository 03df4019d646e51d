"""Feature-level fusion: one embedding from those of several branches.

Branches are dropped at random in training so that one may be missing in use: Neverova, Wolf, Taylor, Nebout: "ModDrop:
Adaptive Multi-Modal Gesture Recognition", IEEE TPAMI 2016.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.fusion.concatenation import Concatenation
from speakerlab.fusion.cross_attention import CrossAttention
from speakerlab.fusion.gate import Gate
from speakerlab.fusion.mean import Mean

KINDS = ("softmax", "gated", "cross_attention", "concatenate", "mean")
NORMS = ("layer", "length", "none")


def normalise(x: Tensor, norm: str) -> Tensor:
    """Embeddings on one scale, whatever branch they are of: `(batch, dim) -> (batch, dim)` float32 of variance about 1.

    Args:
        x: `(batch, dim)`.
        norm: "layer" is mean 0 and variance 1 within each, "length" the direction alone, "none" leaves them.
    """
    x = x.float()
    if norm == "layer":
        return F.layer_norm(x, x.shape[-1:])
    return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5 if norm == "length" else x


def keep_some(present: Tensor, probability: float) -> Tensor:
    """Drop branches at random, each with this probability, but never all that an item has.

    Args:
        present: `(batch, branches)` bool, at least one of each item.
        probability: below 1.
    """
    draw = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    # The largest draw stays: where all would go, each branch is as likely to.
    return present & ((draw >= probability) | (draw == draw.amax(dim=1, keepdim=True)))


class Fusion(nn.Module):
    """`(batch, dim_i)` of each branch in order, None for one that is missing `-> (batch, embed_dim)`.

    Each embedding is normalised and projected, with a tanh, to the common size (the gated unit's, see
    `speakerlab.fusion.gate`); the kind puts them together; a batch norm ends the embedding.

    Args:
        dims: of the branches' embeddings.
        kind: "softmax" weighs branches, "gated" branches for each dimension, "cross_attention" lets branches ask each
            other; "concatenate" and "mean" are baselines.
        embed_dim: of the projections and of the embedding.
        heads: of cross-attention.
        norm: of the branches' embeddings; see `normalise`.
        branch_dropout: chance that training hides a branch of an item; one always stays.

    Raises:
        ValueError: for less than two branches or a value out of range.
    """

    def __init__(
        self,
        dims: Sequence[int],
        kind: str = "gated",
        embed_dim: int = 256,
        heads: int = 4,
        norm: str = "layer",
        branch_dropout: float = 0.1,
    ):
        super().__init__()
        if len(dims) < 2:
            raise ValueError(f"a fusion needs at least two branches, not {len(dims)}")
        for name, value, known in (("kind", kind, KINDS), ("norm", norm, NORMS)):
            if value not in known:
                raise ValueError(f"{name}={value} must be {', '.join(known[:-1])} or {known[-1]}")
        if embed_dim < 1:
            raise ValueError(f"embed_dim={embed_dim} must be at least 1")
        if not 0 <= branch_dropout < 1:
            raise ValueError(f"branch_dropout={branch_dropout} must lie in 0 to below 1")
        self.dims = list(dims)
        self.kind = kind
        self.embed_dim = embed_dim
        self.norm = norm
        self.branch_dropout = branch_dropout
        self.project = nn.ModuleList(nn.Linear(dim, embed_dim) for dim in dims)
        self.combine = {
            "softmax": lambda: Gate(sum(dims), len(dims), 1),
            "gated": lambda: Gate(sum(dims), len(dims), embed_dim),
            "cross_attention": lambda: CrossAttention(embed_dim, heads),
            "concatenate": lambda: Concatenation(len(dims), embed_dim),
            "mean": Mean,
        }[kind]()
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def forward(self, parts: Sequence[Tensor | None]) -> Tensor:
        fused, _ = self._combined(parts)
        return self.embedding_norm(fused)

    def weights(self, parts: Sequence[Tensor | None]) -> Tensor:
        """How far each branch is trusted: `(batch, branches)`, or of kind "gated" `(batch, branches, embed_dim)`; they
        sum to one over the branches, and are 0 of a missing one.

        Raises:
            ValueError: for kind "concatenate", which weighs none.
        """
        _, weights = self._combined(parts)
        if weights is None:
            raise ValueError(f"kind={self.kind} weighs no branches")
        return weights

    def _combined(self, parts: Sequence[Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """The fused embeddings before the last norm, and the weights."""
        there = [part for part in parts if part is not None]
        if len(parts) != len(self.dims):
            raise ValueError(f"embeddings of {len(parts)} branches were given, not of {len(self.dims)}")
        if not there:
            raise ValueError("at least one branch must be there")
        columns = [torch.full((len(there[0]),), part is not None, device=there[0].device) for part in parts]
        present = torch.stack(columns, dim=1)  # (batch, branches)
        if self.training and self.branch_dropout:
            present = keep_some(present, self.branch_dropout)
        flat, projected = [], []
        for number, (part, dim) in enumerate(zip(parts, self.dims, strict=True)):
            x = there[0].new_zeros(len(there[0]), dim).float() if part is None else normalise(part, self.norm)
            flat.append(x * present[:, number, None])
            projected.append(self.project[number](x).tanh() * present[:, number, None])
        return self.combine(torch.cat(flat, dim=1), torch.stack(projected, dim=1), present)
