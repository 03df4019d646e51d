"""Circle loss against a loop, and against pytorch-metric-learning's over pairs."""

import math

import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, items, value_and_gradients
from pytorch_metric_learning.losses import CircleLoss as CircleLossOfPairs

from speakerlab.losses.circle import CircleLoss


def make(**arguments) -> CircleLoss:
    torch.manual_seed(0)
    return CircleLoss(DIM, SPEAKERS, **arguments)


def naive(loss: CircleLoss, embeddings, speakers, m: float) -> float:
    """Equation 6 of the paper with one positive, the speaker's row: ln(1 + sum of products of exponentials)."""
    losses = []
    for row, speaker in zip(cosines(loss, embeddings), speakers.tolist(), strict=True):
        own = row[speaker]
        positive = -loss.scale * max(1 + m - own, 0.0) * (own - (1 - m))
        negative = [loss.scale * max(c + m, 0.0) * (c - m) for j, c in enumerate(row) if j != speaker]
        losses.append(math.log1p(sum(math.exp(positive + n) for n in negative)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("margin, scale", [(0.35, 60.0), (0.25, 256.0)])
def test_it_matches_the_formula(margin, scale, share):
    loss, (embeddings, speakers) = make(margin=margin, scale=scale), items()
    loss.margin_share = share
    expected = naive(loss, embeddings, speakers, share * margin)
    assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin, scale", [(0.35, 60.0), (0.25, 256.0)])
def test_it_matches_pytorch_metric_learning(margin, scale):
    """Pairs of embeddings with weight rows: each has one row of its own speaker."""
    ours, (embeddings, speakers) = make(margin=margin, scale=scale), items()
    theirs = CircleLossOfPairs(m=margin, gamma=scale)
    value, *gradients = value_and_gradients(ours, embeddings, speakers)
    embeddings.requires_grad_()
    rows = ours.classifier.weight
    expected = theirs(embeddings, speakers, ref_emb=rows, ref_labels=torch.arange(SPEAKERS))
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected, [embeddings, rows])), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": -0.1}, "margin=-0.1 must lie in"),
        ({"margin": 1.5}, "margin=1.5 must lie in"),
        ({"scale": -1.0}, "scale=-1.0 must be positive"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
