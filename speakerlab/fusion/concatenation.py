"""The branches side by side and a dense layer: what weights that look at the embeddings must beat."""

from torch import Tensor, nn


class Concatenation(nn.Module):
    """A dense layer on all branches, of which those that are not there are zeros; see `speakerlab.fusion`.

    Args:
        branches: how many.
        embed_dim: of the parts and of what comes out.
    """

    def __init__(self, branches: int, embed_dim: int):
        super().__init__()
        self.project = nn.Linear(branches * embed_dim, embed_dim)

    def forward(self, flat: Tensor, parts: Tensor, present: Tensor) -> tuple[Tensor, None]:
        return self.project(parts.flatten(1)), None
