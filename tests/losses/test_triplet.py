"""Triplet loss against all triplets one by one, and against pytorch-metric-learning's losses and miners."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner

from speakerlab.losses.groups import pairs
from speakerlab.losses.triplet import MINING, Triplet, mine

SPEAKERS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 3])  # in any order, and one alone


def items(seed: int = 0, rows: int = len(SPEAKERS)) -> torch.Tensor:
    return 2.0 * torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def squared_distances(embeddings: torch.Tensor) -> np.ndarray:
    x = embeddings.detach().double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.square(x[:, None] - x).sum(axis=2)


def negatives(distance: np.ndarray, anchor: int, positive: int, speakers: list[int], mining: str) -> list[int]:
    """FaceNet, section 3.2, by sorting."""
    others = [n for n in range(len(speakers)) if speakers[n] != speakers[anchor]]
    others.sort(key=lambda n: distance[anchor, n])
    if mining == "all":
        return others
    if mining == "hardest":
        return others[:1]
    farther = [n for n in others if distance[anchor, n] > distance[anchor, positive]]
    return farther[:1] or others[-1:]


def naive(embeddings: torch.Tensor, margin: float, mining: str) -> float:
    distance, speakers = squared_distances(embeddings), SPEAKERS.tolist()
    values = []
    for a in range(len(speakers)):
        for p in range(len(speakers)):
            if a != p and speakers[a] == speakers[p]:
                values += [
                    distance[a, p] - distance[a, n] + margin for n in negatives(distance, a, p, speakers, mining)
                ]
    values = [value for value in values if value > 0]
    return float(np.mean(values)) if values else 0.0


@pytest.mark.parametrize("margin", [0.05, 0.2, 2.0])
@pytest.mark.parametrize("mining", MINING)
def test_it_matches_the_formula(mining, margin):
    for seed in range(5):
        value, logits = Triplet(3, 4, margin, mining)(items(seed), SPEAKERS)
        assert value.item() == pytest.approx(naive(items(seed), margin, mining), rel=1e-5) and logits is None


def test_the_kinds_of_mining_differ():
    values = [Triplet(3, 4, 0.5, mining)(items(), SPEAKERS)[0].item() for mining in MINING]
    assert len(set(values)) == 3


def assert_same(mining: str, speakers: torch.Tensor, theirs: TripletMarginLoss, mined=None, margin: float = 0.3):
    """Value and gradients."""
    first, second = (items(rows=len(speakers)).requires_grad_() for _ in range(2))
    value = Triplet(3, 4, margin, mining)(first, speakers)[0]
    expected = theirs(second, speakers, mined(second, speakers) if mined is not None else None)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-6)
    assert first.grad.norm() > 0.01


SQUARED = LpDistance(p=2, power=2)


def test_all_triplets_match_pytorch_metric_learning():
    assert_same("all", SPEAKERS, TripletMarginLoss(margin=0.3, distance=SQUARED))


def test_the_hardest_match_pytorch_metric_learning():
    """With two utterances a speaker, where its hardest positive is the only one."""
    speakers = torch.arange(4).repeat_interleave(2)
    assert_same("hardest", speakers, TripletMarginLoss(margin=0.3, distance=SQUARED), BatchHardMiner(distance=SQUARED))


def test_the_semi_hard_are_the_hardest_of_pytorch_metric_learnings():
    """Whose miner finds all negatives between the positive and the margin; ours is the nearest of each pair."""
    margin, checked = 0.6, 0
    for seed in range(5):
        embeddings, distance = items(seed), torch.from_numpy(squared_distances(items(seed)))
        found = TripletMarginMiner(margin, "semihard", distance=SQUARED)(embeddings, SPEAKERS)
        same, different = pairs(SPEAKERS)
        anchors, positives = same.nonzero(as_tuple=True)
        chosen = mine(distance[anchors, positives], distance[anchors], different[anchors], "semi_hard")
        for anchor, positive, row in zip(anchors, positives, chosen):
            theirs = found[2][(found[0] == anchor) & (found[1] == positive)]
            if len(theirs):
                nearest = theirs[distance[anchor, theirs].argmin()]
                assert row.nonzero().tolist() == [[nearest]]
                checked += 1
    assert checked > 10


def test_well_separated_speakers_give_nothing():
    embeddings = torch.eye(3).repeat_interleave(2, dim=0).requires_grad_()
    for mining in MINING:
        value, _ = Triplet(3, 3, 1.9, mining)(embeddings, torch.arange(3).repeat_interleave(2))
        value.backward()
        assert value == 0 and embeddings.grad.abs().max() == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": 0.0}, "margin=0.0 must lie above 0, to 4"),
        ({"margin": 4.5}, "margin=4.5 must lie above 0, to 4"),
        ({"margin": math.nan}, "margin=nan must lie"),
        ({"mining": "semihard"}, "mining=semihard must be one of semi_hard, hardest, all"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Triplet(3, 4, **arguments)
