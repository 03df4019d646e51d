"""The MLP that names speakers, against its formula in float64 NumPy."""

import math

import numpy as np
import pytest
import torch
from loss_reference import DIM, SPEAKERS, cross_entropy, items

from speakerlab.losses.decision_mlp import DecisionMlp


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def naive_logits(loss: DecisionMlp, embeddings: torch.Tensor) -> list[list[float]]:
    """A unit, and then a speaker, at a time."""
    found = []
    for x in array(embeddings):
        unit = math.sqrt(len(x)) * x / math.sqrt(float(x @ x))
        hidden = [
            max(0.0, float(row @ unit) + bias)
            for row, bias in zip(array(loss.hidden.weight), array(loss.hidden.bias), strict=True)
        ]
        found.append([float(row @ hidden) + bias for row, bias in zip(*map(array, loss.out.parameters()), strict=True)])
    return found


@pytest.fixture
def loss() -> DecisionMlp:
    torch.manual_seed(3)
    return DecisionMlp(DIM, SPEAKERS, hidden=9).eval()


def test_it_matches_the_formula(loss):
    embeddings, speakers = items()
    value, logits = loss(embeddings, speakers)
    expected = naive_logits(loss, embeddings)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert value.item() == pytest.approx(cross_entropy(expected, speakers.tolist()), rel=1e-5)


def test_only_directions_count(loss):
    """As for the cosine that the same embeddings are scored by."""
    embeddings, speakers = items()
    lengths = torch.linspace(0.1, 50.0, len(embeddings))[:, None]
    torch.testing.assert_close(loss(embeddings * lengths, speakers), loss(embeddings, speakers))


def test_training_leaves_units_out_and_evaluation_none(loss):
    embeddings, speakers = items()
    whole = loss(embeddings, speakers)[1]
    torch.manual_seed(0)
    drawn = torch.stack([loss.train()(embeddings, speakers)[1] for _ in range(3000)])
    assert not torch.equal(drawn[0], drawn[1])
    spread = drawn.std(dim=0) / math.sqrt(len(drawn))
    assert ((drawn.mean(dim=0) - whole).abs() < 5.0 * spread).all()  # on average the whole network's


def test_its_speakers_have_rows_that_say_who_is_like_whom(loss):
    """Two speakers with one and the same row get the same logits but for the bias."""
    assert loss.speaker_weights().shape == (SPEAKERS, 9)
    with torch.no_grad():
        loss.out.weight[2] = loss.out.weight[5]
        loss.out.bias.zero_()
    logits = loss(*items())[1]
    torch.testing.assert_close(logits[:, 2], logits[:, 5])
    assert torch.equal(loss.speaker_weights()[2], loss.speaker_weights()[5])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hidden": 0}, "hidden=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must lie in 0 to 1, without 1"),
        ({"dropout": -0.1}, "dropout=-0.1 must lie in 0 to 1"),
        ({"dropout": math.nan}, "dropout=nan must lie"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DecisionMlp(DIM, SPEAKERS, **arguments)
