"""Angular prototypical loss against the paper's equations, query by query."""

import math

import numpy as np
import pytest
import torch

from speakerlab.losses.angular_prototypical import AngularPrototypical

DIM = 5


def batch(speakers: int, utterances: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(10 * speakers + utterances)
    labels = torch.randperm(50, generator=generator)[:speakers].repeat_interleave(utterances)
    return 3.0 * torch.randn(len(labels), DIM, generator=generator), labels


def naive(embeddings: torch.Tensor, count: int, w: float, b: float) -> float:
    x = embeddings.detach().double().numpy().reshape(-1, count, DIM)
    losses = []
    for j in range(len(x)):
        similarities = []
        for k in range(len(x)):
            prototype = sum(x[k, m] for m in range(count - 1)) / (count - 1)
            query = x[j, count - 1]
            similarities.append(w * (query @ prototype) / np.linalg.norm(query) / np.linalg.norm(prototype) + b)
        losses.append(-similarities[j] + math.log(sum(math.exp(s) for s in similarities)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("speakers, utterances", [(2, 2), (6, 2), (4, 5)])
@pytest.mark.parametrize("scale, offset", [(10.0, -5.0), (1.5, 2.0)])
def test_it_matches_the_formula(speakers, utterances, scale, offset):
    embeddings, labels = batch(speakers, utterances)
    value, logits = AngularPrototypical(DIM, 50, scale, offset)(embeddings, labels)
    assert value.item() == pytest.approx(naive(embeddings, utterances, scale, offset), rel=1e-5) and logits is None


def test_gradients():
    """Of embeddings and scale, by finite differences; the offset, which a softmax cancels out, has none."""
    embeddings, labels = batch(3, 3)
    loss, step = AngularPrototypical(DIM, 50, scale=4.0, offset=-1.0), 1e-5
    embeddings.requires_grad_()
    loss(embeddings, labels)[0].backward()
    for row, column in [(0, 0), (4, 2), (8, 4)]:
        unit = torch.zeros_like(embeddings, dtype=torch.float64)
        unit[row, column] = step
        x = embeddings.detach().double()
        expected = (naive(x + unit, 3, 4.0, -1.0) - naive(x - unit, 3, 4.0, -1.0)) / (2 * step)
        assert embeddings.grad[row, column].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    slope = (naive(embeddings, 3, 4.0 + step, -1.0) - naive(embeddings, 3, 4.0 - step, -1.0)) / (2 * step)
    assert loss.scale.grad.item() == pytest.approx(slope, rel=1e-3)
    assert abs(loss.offset.grad.item()) < 1e-6


def test_the_scale_stays_positive():
    loss, (embeddings, labels) = AngularPrototypical(DIM, 50), batch(3, 2)
    with torch.no_grad():
        loss.scale.fill_(-1.0)
    assert loss(embeddings, labels)[0].item() == pytest.approx(math.log(3), abs=1e-4)  # as if all cosines were equal


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"scale": math.nan}, "scale=nan must be positive"),
        ({"offset": math.inf}, "offset=inf must be a number"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AngularPrototypical(DIM, 50, **arguments)
