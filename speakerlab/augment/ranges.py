"""Ranges that a config gives as two numbers."""

import math
from collections.abc import Sequence


def check_range(name: str, values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """The two numbers.

    Args:
        name: of the argument, for the message.
        values: [smallest, largest].
        low, high: what they must lie within.

    Raises:
        ValueError: if they are not two, not finite, in the wrong order or out of bounds.

    >>> check_range("gain_db", [-6, 3], -60, 60)
    (-6, 3)
    """
    if len(values) != 2 or not all(map(math.isfinite, values)) or not low <= values[0] <= values[1] <= high:
        bounds = "finite" if math.isinf(low) and math.isinf(high) else f"within {low:g} to {high:g}"
        raise ValueError(f"{name}={list(values)} must be [low, high] with low <= high, {bounds}")
    return values[0], values[1]
