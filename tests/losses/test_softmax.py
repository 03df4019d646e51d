"""Cross entropy of a linear classifier against a loop."""

import numpy as np
import pytest
import torch
from loss_reference import DIM, SPEAKERS, cross_entropy, items

from speakerlab.losses.softmax import Softmax


def make() -> Softmax:
    torch.manual_seed(0)
    loss = Softmax(DIM, SPEAKERS)
    with torch.no_grad():
        loss.bias.copy_(torch.randn(SPEAKERS))
    return loss


def test_it_matches_the_formula():
    loss, (embeddings, speakers) = make(), items()
    weight, bias = loss.weight.detach().double().numpy(), loss.bias.detach().double().numpy()
    expected = np.array([[w @ x + b for w, b in zip(weight, bias)] for x in embeddings.double().numpy()])
    value, logits = loss(embeddings, speakers)
    assert value.item() == pytest.approx(cross_entropy(expected.tolist(), speakers.tolist()), rel=1e-5)
    torch.testing.assert_close(logits, torch.from_numpy(expected).float(), atol=1e-4, rtol=0)


def test_a_speakers_weights_are_its_row():
    loss = make()
    assert torch.equal(loss.speaker_weights(), loss.weight) and not loss.speaker_weights().requires_grad
