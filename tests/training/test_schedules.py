"""Schedules against their closed forms."""

import math

import numpy as np
import pytest
import torch

from speakerlab.training.schedules import (
    Constant,
    MarginExponential,
    MarginFromEpoch,
    MarginRamp,
    Plateau,
    Triangular2,
    WarmupCosine,
    WarmupExponential,
)

EPOCHS = np.linspace(0.0, 20.0, 401).tolist()  # Python's floats: NumPy's divide by zero


def naive(kind: str, epoch: float, total: float, warmup: float, final: float) -> float:
    if warmup and epoch < warmup:
        return epoch / warmup
    done = (epoch - warmup) / (total - warmup)
    if kind == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
    return math.exp(math.log(final) * done)


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0, 6.0])
@pytest.mark.parametrize("final", [0.001, 0.1, 1.0])
@pytest.mark.parametrize("kind, schedule", [("cosine", WarmupCosine), ("exponential", WarmupExponential)])
def test_closed_forms(kind, schedule, final, warmup):
    factor = schedule(warmup, final)
    found = [factor(epoch, 20.0) for epoch in EPOCHS]
    assert found == pytest.approx([naive(kind, epoch, 20.0, warmup, final) for epoch in EPOCHS])
    assert min(found) >= 0 and max(found) <= 1
    assert found[-1] == pytest.approx(final)
    peak = round(warmup * 20)
    assert found[peak] == 1.0
    assert (np.diff(found[:peak]) > 0).all() and (np.diff(found[peak:]) <= 1e-12).all()


def test_constant():
    assert [Constant()(epoch, 5) for epoch in (0, 0.3, 5)] == [1.0, 1.0, 1.0]
    assert [Constant(2.0)(epoch, 5) for epoch in (0, 0.5, 1, 2, 5)] == [0.0, 0.25, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("schedule", [WarmupCosine(1.5), WarmupExponential(1.5), Constant(1.5), MarginRamp(0.2, 0.6)])
def test_steps_an_epoch_do_not_matter(schedule):
    """Batches of half the size: every second step has the factor of the step that it replaces."""
    coarse = [schedule(step / 10, 8) for step in range(80)]
    fine = [schedule(step / 20, 8) for step in range(160)]
    assert fine[::2] == coarse


@pytest.mark.parametrize("schedule", [WarmupCosine, WarmupExponential])
def test_a_warm_up_longer_than_training_only_rises(schedule):
    factors = [schedule(10.0)(epoch, 4) for epoch in np.linspace(0, 4, 41)]
    assert factors == pytest.approx([epoch / 10 for epoch in np.linspace(0, 4, 41)])


def test_past_the_end_the_last_factor_stays():
    assert WarmupCosine(1.0, 0.2)(11, 10) == pytest.approx(0.2)
    assert WarmupExponential(1.0, 0.2)(11, 10) == pytest.approx(0.2)
    assert MarginRamp(0.0, 1.0)(11, 10) == 1.0


@pytest.mark.parametrize("start, end", [(0.0, 0.3), (0.2, 0.6), (0.0, 1.0), (0.0, 0.0), (0.4, 0.4), (1.0, 1.0)])
def test_margin_ramp(start, end):
    """The line through (start, 0) and (end, 1), cut off; a jump where the two meet."""
    ramp = MarginRamp(start, end)
    shares = np.linspace(0.0, 1.0, 101).tolist()
    found = [ramp(share * 30, 30) for share in shares]
    if start == end:
        expected = [float(share * 30 / 30 >= end) for share in shares]
    else:
        expected = np.interp(shares, [start, end], [0.0, 1.0])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "schedule, arguments, message",
    [
        (Constant, {"warmup_epochs": -1}, "warmup_epochs=-1 must be at least 0"),
        (WarmupCosine, {"warmup_epochs": -0.5}, "warmup_epochs=-0.5 must be at least 0"),
        (WarmupCosine, {"final_ratio": -0.1}, "final_ratio=-0.1 must be between 0 and 1"),
        (WarmupExponential, {"warmup_epochs": -2.0}, "warmup_epochs=-2.0 must be at least 0"),
        (WarmupExponential, {"final_ratio": 0.0}, "final_ratio=0.0 must be above 0"),
        (MarginRamp, {"start": 0.5, "end": 0.4}, "start=0.5 and end=0.4 must be in order"),
        (MarginRamp, {"start": -0.1}, "start=-0.1 and end=0.3 must be"),
        (MarginRamp, {"end": 1.1}, "start=0.0 and end=1.1 must be"),
    ],
)
def test_bad_settings_are_refused(schedule, arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(**arguments)


def test_plateau_follows_torch():
    """Without a threshold, the rates of torch's own ReduceLROnPlateau, whose patience is one less."""
    errors = [0.30, 0.25, 0.26, 0.25, 0.24, 0.24, 0.24, 0.30, 0.20, 0.21, 0.22, 0.23, 0.24, 0.25]
    ours = Plateau(factor=0.5, patience=2, min_ratio=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.0, min_lr=0.1)
    for number, error in enumerate(errors):
        ours.observe(error)
        theirs.step(error)
        assert ours(number, 14) == pytest.approx(optimizer.param_groups[0]["lr"]), number
    assert ours(20, 14) == 0.1


def test_plateau_warms_up_and_goes_on_after_a_resume():
    schedule, resumed = (Plateau(factor=0.3, patience=3, warmup_epochs=2.0) for _ in range(2))
    assert [schedule(epoch, 9) for epoch in (0, 1, 2, 5)] == [0.0, 0.5, 1.0, 1.0]
    for error in (0.2, 0.3, 0.3):
        schedule.observe(error)
    resumed.load_state_dict(schedule.state_dict())
    resumed.observe(0.25)
    assert resumed(5, 9) == 0.3 and schedule(5, 9) == 1.0


def test_triangular2_follows_torch():
    """Torch's CyclicLR, in steps of a tenth of an epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, step_size_up=20, mode="triangular2")
    ours = Triangular2(cycle_epochs=4.0, base_ratio=0.1)
    for step in range(130):
        assert ours(step / 10, 13) == pytest.approx(optimizer.param_groups[0]["lr"]), step
        optimizer.step()
        theirs.step()


def test_margins_that_rise_exponentially_or_at_once():
    """WeSpeaker's: 1 - exp(done * log(final)) of the margin while it rises."""
    share = MarginExponential(0.2, 0.6, 1e-3)
    assert [share(epoch, 10) for epoch in (0, 2, 6, 9)] == [0.0, 0.0, 1.0, 1.0]
    for epoch in (2.5, 3, 5.9):
        done = (epoch / 10 - 0.2) / 0.4
        assert share(epoch, 10) == pytest.approx(1 - math.exp(done * math.log(1e-3)), abs=1.1e-3)
    values = [share(epoch, 20) for epoch in EPOCHS]
    assert (np.diff(values) >= 0).all() and max(np.diff(values)) < 0.1
    assert [MarginFromEpoch(1.5)(epoch, 10) for epoch in (0, 1, 1.49, 1.5, 9)] == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Plateau(factor=0.0), "factor=0.0 must be above 0"),
        (lambda: Plateau(patience=0), "patience=0 must be at least 1"),
        (lambda: Plateau(min_improvement=-1.0), "min_improvement=-1.0 must lie in"),
        (lambda: Triangular2(cycle_epochs=0.0), "cycle_epochs=0.0 must be positive"),
        (lambda: Triangular2(base_ratio=2.0), "base_ratio=2.0 must be between"),
        (lambda: MarginExponential(base=1.0), "base=1.0 must lie between"),
        (lambda: MarginExponential(0.5, 0.2), "must be in order"),
        (lambda: MarginFromEpoch(-1.0), "epoch=-1.0 must be at least 0"),
    ],
)
def test_bad_settings_of_these_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
