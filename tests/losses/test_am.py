"""Additive margin against a loop, and against pytorch-metric-learning."""

import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, cross_entropy, items, value_and_gradients
from pytorch_metric_learning.losses import CosFaceLoss

from speakerlab.losses.am import AmSoftmax


def make(**arguments) -> AmSoftmax:
    torch.manual_seed(0)
    return AmSoftmax(DIM, SPEAKERS, **arguments)


def naive(loss: AmSoftmax, embeddings, speakers, margin: float, top_k_margin: float) -> float:
    logits = []
    for row, speaker in zip(cosines(loss, embeddings), speakers.tolist(), strict=True):
        others = sorted((c for j, c in enumerate(row) if j != speaker), reverse=True)
        hard = others[: loss.top_k]
        logits.append(
            [loss.scale * (c - margin if j == speaker else c + top_k_margin * (c in hard)) for j, c in enumerate(row)]
        )
    return cross_entropy(logits, speakers.tolist())


@pytest.mark.parametrize("subcenters", [1, 3])
@pytest.mark.parametrize("top_k", [0, 2, 20])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_it_matches_the_formula(subcenters, top_k, share):
    loss, (embeddings, speakers) = make(margin=0.3, scale=20.0, subcenters=subcenters, top_k=top_k), items()
    loss.margin_share = share
    expected = naive(loss, embeddings, speakers, share * 0.3, share * 0.06)
    assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin, scale", [(0.2, 32.0), (0.35, 64.0)])
def test_it_matches_pytorch_metric_learning(margin, scale):
    ours, (embeddings, speakers) = make(margin=margin, scale=scale), items()
    theirs = CosFaceLoss(SPEAKERS, DIM, margin=margin, scale=scale)
    with torch.no_grad():
        theirs.W.copy_(ours.classifier.weight.T)
    value, *gradients = value_and_gradients(ours, embeddings, speakers)
    embeddings.requires_grad_()
    expected = theirs(embeddings, speakers)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    at_embeddings, at_rows = torch.autograd.grad(expected, [embeddings, theirs.W])
    torch.testing.assert_close(gradients, [at_embeddings, at_rows.T], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": -0.1}, "margin=-0.1 must lie in"),
        ({"margin": 1.1}, "margin=1.1 must lie in"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"top_k": -1}, "top_k=-1 must be at least 0"),
        ({"subcenters": 0}, "subcenters=0"),
        ({"sampled_share": 0.0}, "sampled_share=0.0"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
