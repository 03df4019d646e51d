"""SphereFace2 against a loop over speakers, with angles."""

import math

import numpy as np
import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, items
from scipy.optimize import minimize_scalar

from speakerlab.losses.sphereface2 import SphereFace2, spread


def make(**arguments) -> SphereFace2:
    torch.manual_seed(0)
    loss = SphereFace2(DIM, SPEAKERS, **arguments)
    torch.nn.init.constant_(loss.bias, 4.0)
    return loss


def naive(loss: SphereFace2, embeddings, speakers, margin: float) -> float:
    bias, t, r, share = loss.bias.item(), loss.exponent, loss.scale, loss.positive_share

    def g(cosine: float) -> float:
        return 2 * ((cosine + 1) / 2) ** t - 1

    losses = []
    for row, speaker in zip(cosines(loss, embeddings), speakers.tolist(), strict=True):
        total = 0.0
        for j, cosine in enumerate(row):
            theta, own = math.acos(cosine), j == speaker
            if loss.margin_type == "C":
                similarity = g(cosine) - margin if own else g(cosine) + margin
            else:
                assert margin < theta < math.pi - margin  # beyond, the two are continued
                similarity = g(math.cos(theta + margin if own else theta - margin))
            sign = -1 if own else 1
            total += (share if own else 1 - share) * math.log1p(math.exp(sign * (r * similarity + bias)))
        losses.append(total)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"margin_type": "A"},
        {"exponent": 1.0, "margin": 0.4, "scale": 10.0},
        {"exponent": 2.5, "margin_type": "A", "margin": 0.1, "positive_share": 0.9},
    ],
)
def test_it_matches_the_formula(arguments, share):
    loss, (embeddings, speakers) = make(**arguments), items()
    loss.margin_share = share
    expected = naive(loss, embeddings, speakers, share * loss.margin)
    assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-5)


def test_logits_are_those_of_the_binary_classifiers():
    loss, (embeddings, speakers) = make(), items()
    expected = 30.0 * (2.0 * ((cosines(loss, embeddings) + 1.0) / 2.0) ** 3 - 1.0) + loss.bias.item()
    torch.testing.assert_close(loss(embeddings, speakers)[1].numpy(), expected.astype("float32"), atol=1e-4, rtol=0)


def test_cosines_that_rounding_has_carried_beyond_one():
    cosine = torch.tensor([-1.0 - 1e-6, -1.0, 1.0, 1.0 + 1e-6], requires_grad=True)
    for exponent in (1.0, 2.5, 3.0):
        spread(cosine, exponent).sum().backward()
        torch.testing.assert_close(spread(cosine, exponent).detach(), torch.tensor([-1.0, -1.0, 1.0, 1.0]))
        assert cosine.grad.isfinite().all()


@pytest.mark.parametrize("speakers", [2, 3, 80, 6000])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"margin_type": "A"}, {"scale": 200.0, "margin": 0.5}, {"positive_share": 0.9, "exponent": 1.0}],
)
def test_the_bias_starts_where_the_loss_is_least(arguments, speakers):
    """Of cosines that are all 0, by search; the loss is flat there, and compared in place of the bias."""
    loss = SphereFace2(DIM, speakers, **arguments)
    m, r, share = loss.margin, loss.scale, loss.positive_share

    def g(cosine: float) -> float:
        return 2 * ((cosine + 1) / 2) ** loss.exponent - 1

    own, others = (g(0) - m, g(0) + m) if loss.margin_type == "C" else (g(-math.sin(m)), g(math.sin(m)))

    def value(bias: float) -> float:
        pull, push = np.logaddexp(0, -(r * own + bias)), np.logaddexp(0, r * others + bias)
        return share * pull + (1 - share) * (speakers - 1) * push

    least = minimize_scalar(value, bounds=(-100, 400), method="bounded", options={"xatol": 1e-9})
    assert value(loss.bias.item()) == pytest.approx(least.fun, rel=1e-5)


def test_the_bias_counts_the_speakers_that_are_looked_at():
    assert SphereFace2(DIM, 1000, sampled_share=0.1).bias.item() == SphereFace2(DIM, 100).bias.item()
    assert math.isfinite(SphereFace2(DIM, 1).bias.item())


def test_the_bias_learns():
    loss, (embeddings, speakers) = make(), items()
    loss(embeddings, speakers)[0].backward()
    assert loss.bias.grad.abs() > 1e-3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": -0.1}, "margin=-0.1 must lie in"),
        ({"margin_type": "M"}, "margin_type=M must be A or C"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"positive_share": 1.0}, "positive_share=1.0 must lie between"),
        ({"exponent": 0.5}, "exponent=0.5 must be at least 1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
