"""Inter-top-k penalty: the speakers that an item is most easily taken for are pushed away harder.

Zhao, Ma, Liu, Xu: "Multi-Query Multi-Head Attention Pooling and Inter-TopK Penalty for Speaker Verification", ICASSP
2022, equations 11 and 12.
"""

import math
from collections.abc import Callable

from torch import Tensor


def penalise_nearest(cosine: Tensor, columns: Tensor, count: int, penalty: Callable[[Tensor], Tensor]) -> Tensor:
    """The cosines, those of each row's `count` nearest other speakers replaced by `penalty` of them.

    Args:
        cosine: `(batch, classes)`.
        columns: `(batch,)` each row's own speaker.
        count: others a row; all where there are fewer, and 0 changes nothing.
        penalty: raises a cosine.
    """
    count = min(count, cosine.shape[1] - 1)
    if count == 0:
        return cosine
    others = cosine.detach().scatter(1, columns[:, None], -math.inf)
    nearest = others.topk(count, dim=1).indices  # (batch, count)
    return cosine.scatter(1, nearest, penalty(cosine.gather(1, nearest)))


def check_top_k(top_k: int, top_k_margin: float) -> None:
    """ValueError for values out of range."""
    if top_k < 0:
        raise ValueError(f"top_k={top_k} must be at least 0")
    if not 0 <= top_k_margin <= 1:
        raise ValueError(f"top_k_margin={top_k_margin} must lie in [0, 1]")
