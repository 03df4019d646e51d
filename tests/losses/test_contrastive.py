"""Contrastive loss against all pairs one by one, and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import MeanReducer

from speakerlab.losses.contrastive import Contrastive

SPEAKERS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 3])  # in any order, and one alone


def items(seed: int = 0) -> torch.Tensor:
    return 2.0 * torch.randn(len(SPEAKERS), 3, generator=torch.Generator().manual_seed(seed))


def naive(embeddings: torch.Tensor, margin: float, hardest_share: float) -> float:
    """Hadsell's equation 4 for each pair, the distances measured."""
    x = embeddings.detach().double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    together, apart = [], []
    for i in range(len(x)):
        for j in range(i):
            distance = np.linalg.norm(x[i] - x[j])
            if SPEAKERS[i] == SPEAKERS[j]:
                together.append(0.5 * distance**2)
            else:
                apart.append((distance, 0.5 * max(0.0, margin - distance) ** 2))
    apart = [value for _, value in sorted(apart)][: math.ceil(hardest_share * len(apart))]
    return float(np.mean(together) + np.mean(apart))


@pytest.mark.parametrize("margin", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("hardest_share", [0.01, 0.3, 1.0])
def test_it_matches_the_formula(margin, hardest_share):
    for seed in range(3):
        value, logits = Contrastive(3, 4, margin, hardest_share)(items(seed), SPEAKERS)
        assert value.item() == pytest.approx(naive(items(seed), margin, hardest_share), rel=1e-5) and logits is None


@pytest.mark.parametrize("margin", [0.5, 1.5])
def test_it_matches_pytorch_metric_learning(margin):
    """Whose pairs are without the square and the half: distances to the second power, and a margin on them, differ."""
    theirs = ContrastiveLoss(neg_margin=margin, distance=LpDistance(p=2), reducer=MeanReducer())
    first, second = (items().requires_grad_() for _ in range(2))
    value = Contrastive(3, 4, margin, hardest_share=1.0)(first, SPEAKERS)[0]

    def half_square(distances, kind):
        return 0.5 * ContrastiveLoss.get_per_pair_loss(theirs, distances, kind).square()

    theirs.get_per_pair_loss = half_square
    expected = theirs(second, SPEAKERS)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-3, atol=1e-6)


def test_only_the_hardest_negatives_are_pushed():
    """Speakers 0 and 1 are close to each other, and 2 close to neither but within the margin."""
    angles = torch.tensor([0.0, 0.0, 0.3, 0.3, 0.9, 0.9])
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    speakers = torch.tensor([0, 0, 1, 1, 2, 2])
    Contrastive(2, 3, margin=1.0, hardest_share=4 / 12)(embeddings, speakers)[0].backward()
    moved = embeddings.grad.norm(dim=1) > 1e-3
    assert moved.tolist() == [True] * 4 + [False] * 2


def test_the_step_drives_pairs_apart_and_together():
    """Downhill, two of one speaker come nearer and two of others go farther, once within the margin."""
    embeddings = items().requires_grad_()
    loss = Contrastive(3, 4, margin=2.0, hardest_share=1.0)
    before = loss(embeddings, SPEAKERS)[0]
    before.backward()
    after = loss(embeddings.detach() - 0.1 * embeddings.grad, SPEAKERS)[0]
    assert after < before


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": 0.0}, "margin=0.0 must lie above 0, to 2"),
        ({"margin": 2.1}, "margin=2.1 must lie above 0, to 2"),
        ({"margin": math.nan}, "margin=nan must lie"),
        ({"hardest_share": 0.0}, "hardest_share=0.0 must lie above 0, to 1"),
        ({"hardest_share": 1.5}, "hardest_share=1.5 must lie above 0, to 1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Contrastive(3, 4, **arguments)
