"""One optimizer of several parts against the parts by themselves."""

import copy

import pytest
import torch

from speakerlab.training.composite_optimizer import CompositeOptimizer


def parts(seed: int = 0) -> tuple[list[torch.nn.Parameter], list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    weights = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(5))]
    return weights, [
        torch.optim.AdamW([weights[0]], lr=0.1, weight_decay=0.2),
        torch.optim.Adagrad([weights[1]], lr=0.3),
    ]


def backward(weights: list[torch.nn.Parameter], step: int) -> torch.Tensor:
    loss = (weights[0] * (step + 1)).sin().sum() + (weights[1] - step).square().sum()
    loss.backward()
    return loss


def test_it_steps_each_part_as_it_would_by_itself():
    (apart, single), (together, own) = parts(), parts()
    composite = CompositeOptimizer(own)
    for step in range(4):
        for optimizer in single:
            optimizer.zero_grad()
        backward(apart, step)
        for optimizer in single:
            optimizer.step()
        composite.zero_grad()
        loss = composite.step(lambda step=step: backward(together, step))
        assert loss is not None
    for first, second in zip(apart, together, strict=True):
        assert torch.equal(first, second)


def test_a_rate_set_on_a_group_reaches_the_part():
    weights, own = parts()
    composite = CompositeOptimizer(own)
    before = [weight.detach().clone() for weight in weights]
    composite.param_groups[0]["lr"] = 0.0
    backward(weights, 0)
    composite.step()
    assert torch.equal(weights[0], before[0]) and not torch.equal(weights[1], before[1])


def test_states_go_through_a_checkpoint_and_a_move():
    (first, own), (second, others) = parts(), parts()
    composite, resumed = CompositeOptimizer(own), CompositeOptimizer(others)
    backward(first, 0)
    composite.step()
    with torch.no_grad():
        for source, target in zip(first, second, strict=True):
            target.copy_(source)
    resumed.load_state_dict(copy.deepcopy(composite.state_dict()))
    for parameter, state in list(resumed.state.items()):  # as Lightning moves them to a device
        resumed.state[parameter] = {name: value.clone() for name, value in state.items()}
    resumed.param_groups[1]["lr"] = composite.param_groups[1]["lr"] = 0.01  # the groups are those of the loaded parts
    for weights, optimizer in ((first, composite), (second, resumed)):
        optimizer.zero_grad()
        backward(weights, 1)
        optimizer.step()
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_looking_at_states_changes_nothing():
    """Adagrad has its states from the start, and Lightning moves them before the other part has any."""
    weights, own = parts()
    composite = CompositeOptimizer(own)
    for parameter, state in composite.state.items():
        composite.state[parameter] = state
    assert not own[0].state and list(own[1].state) == [weights[1]]
    assert composite.state_dict()["parts"][1]["state"][0]["sum"].shape == weights[1].shape
    with pytest.raises(KeyError):
        composite.state[weights[0]]


def test_gradients_of_all_parts_are_clipped_together():
    weights, own = parts()
    composite = CompositeOptimizer(own)
    backward(weights, 3)
    parameters = [parameter for group in composite.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    assert norm > 1 and torch.cat([w.grad.flatten() for w in weights]).norm() == pytest.approx(1.0, rel=1e-4)
