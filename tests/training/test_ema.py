"""Averaged weights against a plain loop, in what is measured and in what is kept."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from speakerlab.training.ema import Ema, averaged


def module(seed: int = 0) -> SimpleNamespace:
    torch.manual_seed(seed)
    return SimpleNamespace(
        network=nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), device=torch.device("cpu"), development_metrics={}
    )


def steps(callback: Ema, system: SimpleNamespace, first: int, count: int, batches_a_step: int = 1) -> list[dict]:
    """Train with noise for gradients; the network after each step."""
    states = []
    generator = torch.Generator().manual_seed(first)
    for step in range(first, first + count):
        with torch.no_grad():
            for parameter in system.network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        system.network.train()(torch.randn(8, 3, generator=generator))  # moves the batch norm's statistics
        for _ in range(batches_a_step):  # the step has been taken with the first; the others change nothing
            callback.on_train_batch_end(SimpleNamespace(global_step=step + 1), system, {}, {}, 0)
        states.append(copy.deepcopy(system.network.state_dict()))
    return states


def naive(start: dict, states: list[dict], decay: float) -> dict:
    average = copy.deepcopy(start)
    for number, state in enumerate(states, 1):
        share = min(decay, (1 + number) / (10 + number))
        for name, value in state.items():
            if value.is_floating_point():
                average[name] = share * average[name] + (1 - share) * value
            else:
                average[name] = value.clone()
    return average


@pytest.mark.parametrize("decay, batches_a_step", [(0.5, 1), (0.9, 3)])
def test_it_is_the_average_over_steps(decay, batches_a_step):
    callback, system = Ema(decay), module()
    start = copy.deepcopy(system.network.state_dict())
    callback.on_fit_start(None, system)
    expected = naive(start, steps(callback, system, 0, 12, batches_a_step), decay)
    trained = copy.deepcopy(system.network.state_dict())
    with averaged(SimpleNamespace(callbacks=[callback]), system):
        found = copy.deepcopy(system.network.state_dict())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(system.network.state_dict()[name], trained[name])


def test_a_checkpoint_holds_both_and_a_resumed_run_goes_on_exactly():
    callback, system = Ema(0.8), module()
    callback.on_fit_start(None, system)
    steps(callback, system, 0, 5)
    checkpoint = {"state_dict": {f"network.{k}": v.clone() for k, v in system.network.state_dict().items()}}
    callback.on_save_checkpoint(None, system, checkpoint)
    for name, value in callback.average.items():
        assert torch.equal(checkpoint["state_dict"][f"network.{name}"], value)
    checkpoint, state = copy.deepcopy(checkpoint), callback.state_dict()

    resumed, other = Ema(0.8), module(seed=5)
    averages = {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}
    other.network.load_state_dict(averages)  # as Lightning does before it asks callbacks
    resumed.on_load_checkpoint(None, other, checkpoint)
    resumed.load_state_dict(state)
    resumed.on_fit_start(None, other)
    for one, run in ((callback, system), (resumed, other)):
        steps(one, run, 5, 4)
    for name in callback.average:
        assert torch.equal(callback.average[name], resumed.average[name]), name
        assert torch.equal(system.network.state_dict()[name], other.network.state_dict()[name]), name


def test_off_it_does_nothing():
    callback, system = Ema(), module()
    callback.on_fit_start(None, system)
    steps(callback, system, 0, 2)
    checkpoint = {"state_dict": {}}
    callback.on_save_checkpoint(None, system, checkpoint)
    assert callback.average == {} and checkpoint == {"state_dict": {}}
    with averaged(SimpleNamespace(callbacks=[callback]), system):
        pass


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_bad_decays_are_refused(decay):
    with pytest.raises(ValueError, match=f"decay={decay} must lie between 0 and 1"):
        Ema(decay)
