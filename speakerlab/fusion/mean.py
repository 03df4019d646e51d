"""Every branch counts the same: what weights that look at the embeddings must beat."""

from torch import Tensor, nn


class Mean(nn.Module):
    """The mean of the branches that are there; see `speakerlab.fusion`."""

    def forward(self, flat: Tensor, parts: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        weights = present / present.sum(dim=1, keepdim=True)  # (batch, branches)
        return (weights[:, :, None] * parts).sum(dim=1), weights
