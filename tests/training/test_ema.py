"""Averaged weights against a plain loop, in what is measured and in what is kept."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from speakerlab.training.ema import Ema, averaged


class System(nn.Module):
    """A network and a loss with a weight and a number that it counts."""

    device = torch.device("cpu")

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.loss = nn.Linear(4, 2)
        self.loss.register_buffer("scale", torch.tensor(9.0))
        self.development_metrics = {}


def steps(callback: Ema, system: System, first: int, count: int, batches_a_step: int = 1) -> list[dict]:
    """Train with noise for gradients; the state after each step."""
    states = []
    generator = torch.Generator().manual_seed(first)
    for step in range(first, first + count):
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
            system.loss.scale.mul_(0.9)
        system.network.train()(torch.randn(8, 3, generator=generator))  # moves the batch norm's statistics
        for _ in range(batches_a_step):  # the step has been taken with the first; the others change nothing
            callback.on_train_batch_end(SimpleNamespace(global_step=step + 1), system, {}, {}, 0)
        states.append(copy.deepcopy(system.state_dict()))
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
    callback, system = Ema(decay), System()
    start = copy.deepcopy(system.state_dict())
    callback.on_fit_start(None, system)
    expected = naive(start, steps(callback, system, 0, 12, batches_a_step), decay)
    trained = copy.deepcopy(system.state_dict())
    with averaged(SimpleNamespace(callbacks=[callback]), system):
        found = copy.deepcopy(system.state_dict())
    assert {"network.0.weight", "network.1.running_var", "loss.weight", "loss.scale"} <= expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(system.state_dict()[name], trained[name])


def test_a_checkpoint_holds_both_and_a_resumed_run_goes_on_exactly():
    callback, system = Ema(0.8), System()
    callback.on_fit_start(None, system)
    steps(callback, system, 0, 5)
    checkpoint = {"state_dict": copy.deepcopy(system.state_dict())}
    callback.on_save_checkpoint(None, system, checkpoint)
    for name, value in callback.average.items():
        assert torch.equal(checkpoint["state_dict"][name], value)
    checkpoint, state = copy.deepcopy(checkpoint), callback.state_dict()

    without, trained = Ema(), System(seed=6)
    trained.load_state_dict(checkpoint["state_dict"])
    without.on_load_checkpoint(None, trained, checkpoint)
    assert all(torch.equal(value, system.state_dict()[name]) for name, value in trained.state_dict().items())

    resumed, other = Ema(0.8), System(seed=5)
    other.load_state_dict(checkpoint["state_dict"])  # as Lightning does before it asks callbacks
    resumed.on_load_checkpoint(None, other, checkpoint)
    resumed.load_state_dict(state)
    resumed.on_fit_start(None, other)
    for one, run in ((callback, system), (resumed, other)):
        steps(one, run, 5, 4)
    for name in callback.average:
        assert torch.equal(callback.average[name], resumed.average[name]), name
        assert torch.equal(system.state_dict()[name], other.state_dict()[name]), name


def test_off_it_does_nothing():
    callback, system = Ema(), System()
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
