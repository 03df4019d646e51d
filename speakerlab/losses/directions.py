"""Directions of embeddings, with slopes that 16 bits can hold."""

from torch import Tensor
from torch.nn import functional as F

SHORTEST = 1e-3


def directions(embeddings: Tensor) -> Tensor:
    """`(rows, dim)` -> each row divided by its length; one shorter than `SHORTEST` by that, so that zero stays zero.

    The slope of the direction is 1 / length: times a loss's scale it must stay below the 65,504 of float16.
    """
    return F.normalize(embeddings, eps=SHORTEST)
