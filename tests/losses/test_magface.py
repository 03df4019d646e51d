"""MagFace against a loop with angles."""

import math

import numpy as np
import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, cross_entropy, items

from speakerlab.losses.aam import AamSoftmax
from speakerlab.losses.magface import MagFace

FOR_FACES = {"lower_margin": 0.45, "upper_margin": 0.8, "scale": 64.0, "length_weight": 35.0}


def make(**arguments) -> MagFace:
    torch.manual_seed(0)
    return MagFace(DIM, SPEAKERS, **arguments)


def spread_lengths(embeddings: torch.Tensor) -> torch.Tensor:
    """Lengths from 1 to 200."""
    return torch.nn.functional.normalize(embeddings) * torch.logspace(0, 2.3, len(embeddings))[:, None]


def naive(loss: MagFace, embeddings, speakers, share: float) -> float:
    logits, wanted = [], []
    for x, row, speaker in zip(
        embeddings.detach().double().numpy(), cosines(loss, embeddings), speakers.tolist(), strict=True
    ):
        a = min(max(np.linalg.norm(x), loss.lower_length), loss.upper_length)
        margin = (loss.upper_margin - loss.margin) / (loss.upper_length - loss.lower_length)
        margin = share * (margin * (a - loss.lower_length) + loss.margin)
        theta = math.acos(row[speaker])
        if loss.easy_margin:
            own = math.cos(theta + margin) if theta < math.pi / 2 else math.cos(theta)
        else:
            own = math.cos(theta + margin) if theta + margin < math.pi else math.cos(theta) - margin * math.sin(margin)
        logits.append([loss.scale * (own if j == speaker else c) for j, c in enumerate(row)])
        wanted.append(a / loss.upper_length**2 + 1 / a)
    return cross_entropy(logits, speakers.tolist()) + share * loss.length_weight * sum(wanted) / len(wanted)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize(
    "arguments", [{}, {"lower_margin": 0.45, "upper_margin": 0.8, "scale": 64.0, "length_weight": 35.0}]
)
def test_it_matches_the_formula(arguments, easy_margin, share):
    loss, (embeddings, speakers) = make(easy_margin=easy_margin, **arguments), items()
    loss.margin_share = share
    embeddings = spread_lengths(embeddings)
    expected = naive(loss, embeddings, speakers, share)
    assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-5)


def test_equal_margins_are_the_angular_margin():
    loss, (embeddings, speakers) = (
        make(lower_margin=0.4, length_weight=0.0),
        items(),
    )
    other = AamSoftmax(DIM, SPEAKERS, margin=0.4)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(loss(embeddings, speakers), other(embeddings, speakers))


def test_the_gradient_along_the_length():
    """By finite differences: through the margin and the term for length, and none beyond the limits."""
    loss, (embeddings, speakers) = make(length_weight=35.0), items()
    # Less than 90 degrees from its speaker, where the margin counts.
    direction = torch.nn.functional.normalize(loss.classifier.weight.detach()[:1] + 0.02 * embeddings[:1])
    for length in (5.0, 20.0, 80.0, 150.0):
        x = (length * direction).requires_grad_()
        (slope,) = torch.autograd.grad(loss(x, speakers[:1])[0], x)
        slope = float((slope * direction).sum())
        higher, lower = (loss((length + step) * direction, speakers[:1])[0].item() for step in (1.0, -1.0))
        assert slope == pytest.approx((higher - lower) / 2.0, rel=2e-2, abs=1e-4)
        assert (abs(slope) > 1e-3) == (10 < length < 110)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"lower_margin": 0.9}, "lower_margin=0.9 and upper_margin=0.4 must be in order"),
        ({"upper_margin": 2.0}, "upper_margin=2.0"),
        ({"lower_length": 0.0}, "lower_length=0.0 and upper_length=110.0 must be positive"),
        ({"upper_length": 5.0}, "upper_length=5.0"),
        ({"length_weight": -1.0}, "length_weight=-1.0 must be at least 0"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
