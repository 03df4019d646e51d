"""Recomputed activations: the same gradients and statistics, less kept."""

import copy

import pytest
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.training.activation_checkpointing import checkpoint_activations


class Encoder(nn.Module):
    """Four blocks with batch norms and dropout."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 8))
            for _ in range(4)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def train(encoder: nn.Module, batches: torch.Tensor) -> int:
    """Some steps; the bytes that the last forward pass kept for the backward pass."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for batch in batches:
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.nbytes) or x, lambda x: x):  # noqa: B023
            loss = encoder(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return sum(kept)


@pytest.fixture
def encoders() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = Encoder().train()
    return plain, copy.deepcopy(plain)


def test_the_same_training_with_less_kept(encoders):
    plain, saving = encoders
    assert checkpoint_activations(saving) == 4
    batches = torch.randn(3, 16, 8)
    assert train(saving, batches) < 0.2 * train(plain, batches)
    for (name, one), other in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        assert torch.equal(one, other), name  # running statistics and their counts too


def test_evaluation_and_state_dict_are_as_before(encoders):
    plain, saving = encoders
    checkpoint_activations(saving)
    assert plain.state_dict().keys() == saving.state_dict().keys()
    x = torch.randn(5, 8)
    assert torch.equal(plain.eval()(x), saving.eval()(x))


def test_an_encoder_without_blocks_is_refused():
    with pytest.raises(InputError, match="Linear has no repeated blocks"):
        checkpoint_activations(nn.Linear(2, 2))


def test_of_several_encoders_those_with_blocks_save(encoders):
    plain, saving = encoders
    assert checkpoint_activations(nn.Linear(2, 2), saving, plain) == 8
    with pytest.raises(InputError, match="Linear and Identity has no repeated blocks"):
        checkpoint_activations(nn.Linear(2, 2), nn.Identity(), nn.Linear(3, 3))
