"""The chance that an augmentation applies to an item."""


def check_probability(probability: float) -> float:
    """The probability itself.

    Raises:
        ValueError: if it lies outside [0, 1] or is NaN.

    >>> check_probability(0.4)
    0.4
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability={probability} must lie in [0, 1]")
    return probability
