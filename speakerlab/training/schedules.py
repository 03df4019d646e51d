"""Learning rate and margin as pure functions of training time, counted in epochs.

Because they hold no state, neither batch size nor accumulation nor GPU count moves them, and resuming needs nothing.
"""

import math


class Constant:
    """1, after a linear warm-up of `warmup_epochs` from 0."""

    def __init__(self, warmup_epochs: float = 0.0):
        self.warmup_epochs = _checked("warmup_epochs", warmup_epochs)

    def __call__(self, epoch: float, total_epochs: float) -> float:
        return _warmup(epoch, self.warmup_epochs)


class WarmupCosine:
    """Linear warm-up from 0 to 1, then half a cosine down to `final_ratio` at the end of training.

    Loshchilov and Hutter: "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (without restarts).

    Args:
        warmup_epochs: length of the warm-up; fractions count.
        final_ratio: the last factor.

    >>> schedule = WarmupCosine(warmup_epochs=1, final_ratio=0.0)
    >>> [round(schedule(epoch, 5), 3) for epoch in (0, 0.5, 1, 3, 5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, warmup_epochs: float = 1.0, final_ratio: float = 0.01):
        self.warmup_epochs = _checked("warmup_epochs", warmup_epochs)
        if not 0 <= final_ratio <= 1:
            raise ValueError(f"final_ratio={final_ratio} must be between 0 and 1")
        self.final_ratio = final_ratio

    def __call__(self, epoch: float, total_epochs: float) -> float:
        done = _progress(epoch, self.warmup_epochs, total_epochs)
        cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        return _warmup(epoch, self.warmup_epochs) * (self.final_ratio + (1.0 - self.final_ratio) * cosine)


class WarmupExponential:
    """Linear warm-up from 0 to 1, then exponential decay to `final_ratio` at the end of training (WeSpeaker's)."""

    def __init__(self, warmup_epochs: float = 1.0, final_ratio: float = 0.001):
        self.warmup_epochs = _checked("warmup_epochs", warmup_epochs)
        if not 0 < final_ratio <= 1:
            raise ValueError(f"final_ratio={final_ratio} must be above 0 and at most 1")
        self.final_ratio = final_ratio

    def __call__(self, epoch: float, total_epochs: float) -> float:
        done = _progress(epoch, self.warmup_epochs, total_epochs)
        return _warmup(epoch, self.warmup_epochs) * self.final_ratio**done


class MarginRamp:
    """Share of the loss's full margin: 0 until `start`, rising linearly to 1 at `end`.

    A margin that is there from the first step keeps a network with many classes from starting to learn.

    Args:
        start, end: shares of the whole training, 0 to 1.
    """

    def __init__(self, start: float = 0.0, end: float = 0.3):
        if not 0 <= start <= end <= 1:
            raise ValueError(f"start={start} and end={end} must be in order, between 0 and 1")
        self.start = start
        self.end = end

    def __call__(self, epoch: float, total_epochs: float) -> float:
        done = epoch / total_epochs
        if done >= self.end:
            return 1.0
        if done <= self.start:
            return 0.0
        return (done - self.start) / (self.end - self.start)


def _checked(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value} must be at least 0")
    return value


def _warmup(epoch: float, warmup_epochs: float) -> float:
    return min(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0


def _progress(epoch: float, start: float, end: float) -> float:
    """How far `epoch` is between `start` and `end`: 0 to 1."""
    return min(1.0, max(0.0, (epoch - start) / (end - start))) if end > start else 0.0
