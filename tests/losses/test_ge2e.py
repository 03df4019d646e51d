"""GE2E against the paper's equations, utterance by utterance."""

import math

import numpy as np
import pytest
import torch

from speakerlab.losses.ge2e import Ge2e, centroid_cosines

DIM = 5


def batch(speakers: int, utterances: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(10 * speakers + utterances)
    labels = torch.randperm(50, generator=generator)[:speakers].repeat_interleave(utterances)
    return 3.0 * torch.randn(len(labels), DIM, generator=generator), labels


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive(embeddings: torch.Tensor, count: int, form: str, w: float, b: float) -> float:
    """Equations 4 to 10, the sum divided by the utterances."""
    e = embeddings.detach().double().numpy().reshape(-1, count, DIM)
    e /= np.linalg.norm(e, axis=2, keepdims=True)
    total = 0.0
    for j in range(len(e)):
        for i in range(count):
            similarities = []
            for k in range(len(e)):
                members = [e[k, m] for m in range(count) if k != j or m != i]
                similarities.append(w * cosine(e[j, i], sum(members) / len(members)) + b)
            if form == "softmax":
                total += -similarities[j] + math.log(sum(math.exp(s) for s in similarities))
            else:
                total += 1 - sigmoid(similarities[j]) + max(sigmoid(s) for k, s in enumerate(similarities) if k != j)
    return total / (len(e) * count)


@pytest.mark.parametrize("form", ["softmax", "contrast"])
@pytest.mark.parametrize("speakers, utterances", [(2, 2), (6, 2), (4, 5)])
@pytest.mark.parametrize("scale, offset", [(10.0, -5.0), (1.5, 2.0)])
def test_it_matches_the_formula(form, speakers, utterances, scale, offset):
    embeddings, labels = batch(speakers, utterances)
    value, logits = Ge2e(DIM, 50, form, scale, offset)(embeddings, labels)
    assert value.item() == pytest.approx(naive(embeddings, utterances, form, scale, offset), rel=1e-5)
    assert logits is None


def test_an_utterance_is_not_in_its_own_centroid():
    """Where it would be, no utterance of two could be opposite to it."""
    groups = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    cosines = centroid_cosines(groups)
    assert cosines[0, :, 0].tolist() == [-1.0, -1.0] and cosines[1, :, 1].tolist() == [1.0, 1.0]
    assert cosines[0, :, 1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("form", ["softmax", "contrast"])
def test_gradients(form):
    """Of embeddings, scale and offset, by finite differences of the paper's equations."""
    embeddings, labels = batch(3, 3)
    loss = Ge2e(DIM, 50, form, scale=4.0, offset=-1.0)
    embeddings.requires_grad_()
    loss(embeddings, labels)[0].backward()
    step = 1e-5

    def slope(change) -> float:
        return (naive(*change(step)) - naive(*change(-step))) / (2 * step)

    for row, column in [(0, 0), (4, 2), (8, 4)]:
        unit = torch.zeros_like(embeddings, dtype=torch.float64)
        unit[row, column] = 1.0
        expected = slope(lambda h, unit=unit: (embeddings.detach().double() + h * unit, 3, form, 4.0, -1.0))
        assert embeddings.grad[row, column].item() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert loss.scale.grad.item() == pytest.approx(slope(lambda h: (embeddings, 3, form, 4.0 + h, -1.0)), rel=1e-3)
    offset = slope(lambda h: (embeddings, 3, form, 4.0, -1.0 + h))
    assert loss.offset.grad.item() == pytest.approx(offset, rel=1e-3, abs=1e-5)


def test_the_scale_stays_positive():
    loss, (embeddings, labels) = Ge2e(DIM, 50), batch(3, 2)
    with torch.no_grad():
        loss.scale.fill_(-1.0)
    flat = loss(embeddings, labels)[0]
    assert flat.item() == pytest.approx(math.log(3), abs=1e-4)  # as if all cosines were equal


def test_centroids_that_cancel_out():
    """Two opposite utterances have no mean direction for the third."""
    embeddings = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 1], [0, 1], [0, 1]]).half().requires_grad_()
    for form in ("softmax", "contrast"):
        value, _ = Ge2e(2, 2, form)(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]))
        value.backward()
        assert value.isfinite() and embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"form": "soft"}, "form=soft must be one of softmax, contrast"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"scale": math.inf}, "scale=inf must be positive"),
        ({"offset": math.nan}, "offset=nan must be a number"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ge2e(DIM, 50, **arguments)
