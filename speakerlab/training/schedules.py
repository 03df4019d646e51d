"""Learning rate and margin as functions of training time, counted in epochs.

Because they hold no state, neither batch size nor accumulation nor GPU count moves them, and resuming needs nothing;
but for `Plateau`, which follows what is measured and whose state is in the checkpoint.
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


class Triangular2:
    """Cycles of a linear rise from `base_ratio` to 1 and back, their height halved from cycle to cycle.

    Smith: "Cyclical Learning Rates for Training Neural Networks", WACV 2017, policy triangular2.

    Args:
        cycle_epochs: length of a rise and fall.
        base_ratio: the lowest factor.

    >>> schedule = Triangular2(cycle_epochs=4, base_ratio=0.0)
    >>> [schedule(epoch, 8) for epoch in (0, 1, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.0, 0.5]
    """

    def __init__(self, cycle_epochs: float = 8.0, base_ratio: float = 1.0e-5):
        if not 0 < cycle_epochs < math.inf:
            raise ValueError(f"cycle_epochs={cycle_epochs} must be positive")
        if not 0 <= base_ratio <= 1:
            raise ValueError(f"base_ratio={base_ratio} must be between 0 and 1")
        self.cycle_epochs = cycle_epochs
        self.base_ratio = base_ratio

    def __call__(self, epoch: float, total_epochs: float) -> float:
        cycle, place = divmod(epoch / self.cycle_epochs, 1.0)
        height = (1.0 - abs(2.0 * place - 1.0)) / 2.0**cycle
        return self.base_ratio + (1.0 - self.base_ratio) * height


class Plateau:
    """1 after a linear warm-up, times `factor` whenever the development error has not got better in `patience`
    measurements in a row; epochs in which nothing is measured do not count.

    Args:
        factor: of the rate, each time.
        patience: measurements without a better error.
        min_improvement: what counts as better, as a share of the error.
        min_ratio: the lowest factor in all.
        warmup_epochs: length of the warm-up; fractions count.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        factor: float = 0.3,
        patience: int = 2,
        min_improvement: float = 0.0,
        min_ratio: float = 1.0e-3,
        warmup_epochs: float = 0.0,
    ):
        for name, value in (("factor", factor), ("min_ratio", min_ratio)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value} must be above 0 and at most 1")
        if patience < 1:
            raise ValueError(f"patience={patience} must be at least 1")
        if not 0 <= min_improvement < 1:
            raise ValueError(f"min_improvement={min_improvement} must lie in [0, 1)")
        self.factor = factor
        self.patience = patience
        self.min_improvement = min_improvement
        self.min_ratio = min_ratio
        self.warmup_epochs = _checked("warmup_epochs", warmup_epochs)
        self.ratio, self.best, self.waited = 1.0, math.inf, 0

    def __call__(self, epoch: float, total_epochs: float) -> float:
        return _warmup(epoch, self.warmup_epochs) * self.ratio

    def observe(self, error: float) -> None:
        """Take note of a measurement."""
        if error < self.best * (1.0 - self.min_improvement):
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            self.ratio = max(self.min_ratio, self.ratio * self.factor)
            self.waited = 0

    def state_dict(self) -> dict[str, float]:
        return {"ratio": self.ratio, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.ratio, self.best, self.waited = state_dict["ratio"], state_dict["best"], state_dict["waited"]


class MarginExponential:
    """Share of the loss's full margin: 0 until `start`, then rising ever more slowly to 1 at `end`.

    The increase that WeSpeaker's recipes have: 1 - base ** done, scaled to reach 1 at the end, where `done` grows from
    0 to 1 between `start` and `end`.

    Args:
        start, end: shares of the whole training, 0 to 1.
        base: the smaller, the sooner most of the margin is there.
    """

    def __init__(self, start: float = 0.13, end: float = 0.27, base: float = 1.0e-3):
        if not 0 <= start <= end <= 1:
            raise ValueError(f"start={start} and end={end} must be in order, between 0 and 1")
        if not 0 < base < 1:
            raise ValueError(f"base={base} must lie between 0 and 1")
        self.start = start
        self.end = end
        self.base = base

    def __call__(self, epoch: float, total_epochs: float) -> float:
        done = epoch / total_epochs
        if done >= self.end:
            return 1.0
        return (1.0 - self.base ** _progress(done, self.start, self.end)) / (1.0 - self.base)


class MarginFromEpoch:
    """No margin before an epoch, the full one from there on.

    Args:
        epoch: counted from 0; fractions count.
    """

    def __init__(self, epoch: float = 1.0):
        self.epoch = _checked("epoch", epoch)

    def __call__(self, epoch: float, total_epochs: float) -> float:
        return float(epoch >= self.epoch)


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
