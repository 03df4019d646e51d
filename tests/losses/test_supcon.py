"""Supervised contrastive loss against the paper's equation anchor by anchor, and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss

from speakerlab.losses.supcon import SupCon

SPEAKERS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 3])  # in any order, and one alone


def items() -> torch.Tensor:
    return 2.0 * torch.randn(len(SPEAKERS), 4, generator=torch.Generator().manual_seed(0))


def naive(embeddings: torch.Tensor, temperature: float) -> float:
    """Equation 2, the sum divided by the anchors that have a positive."""
    z = embeddings.detach().double().numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and SPEAKERS[p] == SPEAKERS[i]]
        if not positives:
            continue
        below = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
        losses.append(-sum(math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_it_matches_the_formula(temperature):
    value, logits = SupCon(4, 4, temperature)(items(), SPEAKERS)
    assert value.item() == pytest.approx(naive(items(), temperature), rel=1e-5) and logits is None


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_matches_pytorch_metric_learning(temperature):
    first, second = (items().requires_grad_() for _ in range(2))
    value = SupCon(4, 4, temperature)(first, SPEAKERS)[0]
    expected = SupConLoss(temperature)(second, SPEAKERS)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.inf, math.nan])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature={temperature} must be positive"):
        SupCon(4, 4, temperature)
