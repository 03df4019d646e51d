"""Prototypical loss against the distances one by one."""

import math

import numpy as np
import pytest
import torch

from speakerlab.losses.prototypical import Prototypical


def batch(speakers: int, utterances: int, length: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(speakers)
    labels = torch.randperm(50, generator=generator)[:speakers].repeat_interleave(utterances)
    return length * torch.randn(len(labels), 5, generator=generator), labels


def naive(embeddings: torch.Tensor, speakers: int, utterances: int, scale: float) -> float:
    """Snell's equation 2, with measured distances that are scaled."""
    x = embeddings.detach().double().numpy().reshape(speakers, utterances, -1)
    losses = []
    for i in range(speakers):
        terms = []
        for j in range(speakers):
            prototype = sum(x[j, k] for k in range(utterances - 1)) / (utterances - 1)
            terms.append(-scale * np.linalg.norm(x[i, utterances - 1] - prototype) ** 2)
        losses.append(-terms[i] + math.log(sum(math.exp(term) for term in terms)))
    return sum(losses) / speakers


@pytest.mark.parametrize("speakers, utterances", [(2, 2), (6, 2), (4, 5)])
@pytest.mark.parametrize("length, scale", [(0.1, 1.0), (1.0, 1.0), (3.0, 1.0), (3.0, 0.05)])
def test_it_matches_the_formula(speakers, utterances, length, scale):
    embeddings, labels = batch(speakers, utterances, length)
    value, logits = Prototypical(5, 50, scale)(embeddings, labels)
    assert value.item() == pytest.approx(naive(embeddings, speakers, utterances, scale), rel=1e-5) and logits is None


def test_gradients():
    """Against those of the distances, by autograd in double precision."""
    embeddings, labels = batch(4, 3)
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.double().requires_grad_()
    Prototypical(5, 50, 0.5)(ours, labels)[0].backward()
    x = theirs.view(4, 3, 5)
    logits = -torch.cdist(x[:, 2], x[:, :2].mean(dim=1)).square()
    (-(0.5 * logits).log_softmax(dim=1).diagonal().mean()).backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-6)


def test_one_utterance_a_speaker_is_refused():
    with pytest.raises(ValueError, match="of each speaker in a batch, 2 or more"):
        Prototypical(5, 50, 1.0)(*batch(4, 1))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="scale=.* must be above 0"):
        Prototypical(5, 50, scale)
