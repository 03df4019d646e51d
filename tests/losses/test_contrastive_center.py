"""Contrastive-center loss against distances one by one."""

import math

import pytest
import torch

from speakerlab.losses.contrastive_center import ContrastiveCenterLoss

DIM, SPEAKERS = 4, 6


def make(delta: float = 1.0) -> tuple[ContrastiveCenterLoss, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return ContrastiveCenterLoss(DIM, SPEAKERS, delta), 2.0 * torch.randn(7, DIM), torch.tensor([0, 3, 3, 5, 1, 0, 3])


@pytest.mark.parametrize("delta", [1.0, 0.1, 50.0])
def test_it_matches_the_formula(delta):
    """Equation 3, the sum divided by the batch."""
    loss, embeddings, speakers = make(delta)
    x, centers = embeddings.tolist(), loss.centers.tolist()
    total = 0.0
    for row, speaker in zip(x, speakers.tolist()):
        distances = [math.dist(row, center) ** 2 for center in centers]
        others = sum(distance for j, distance in enumerate(distances) if j != speaker)
        total += 0.5 * distances[speaker] / (others + delta)
    value, logits = loss(embeddings, speakers)
    assert value.item() == pytest.approx(total / len(x), rel=1e-5) and logits is None


def test_gradients():
    """Against all distances by themselves, in double precision."""
    loss, embeddings, speakers = make()
    embeddings.requires_grad_()
    loss(embeddings, speakers)[0].backward()
    x, centers = (tensor.detach().double().requires_grad_() for tensor in (embeddings, loss.centers))
    distances = (x[:, None] - centers).square().sum(dim=2)  # (batch, speakers)
    own = distances.gather(1, speakers[:, None]).squeeze(1)
    (0.5 * own / (distances.sum(dim=1) - own + 1.0)).mean().backward()
    torch.testing.assert_close(embeddings.grad.double(), x.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss.centers.grad.double(), centers.grad, rtol=1e-4, atol=1e-6)


def test_embeddings_near_all_centres():
    """Where the sum over the others is 0, up to rounding: it must not fall below and turn the sign."""
    loss, noise, speakers = make(delta=1e-3)
    with torch.no_grad():
        loss.centers.copy_(torch.full((SPEAKERS, DIM), 1000.1))
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        near = 1000.1 + 1e-3 * torch.randn(noise.shape, generator=generator)
        assert 0 <= loss(near, speakers)[0] < 1


@pytest.mark.parametrize("delta", [0.0, -1.0, math.inf, math.nan])
def test_bad_settings_are_refused(delta):
    with pytest.raises(ValueError, match=f"delta={delta} must be positive"):
        make(delta)
