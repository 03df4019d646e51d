"""CurricularFace against a loop with angles."""

import math

import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, cross_entropy, items

from speakerlab.losses.curricular import CurricularFace


def make(**arguments) -> CurricularFace:
    torch.manual_seed(0)
    return CurricularFace(DIM, SPEAKERS, **arguments)


def naive(loss: CurricularFace, embeddings, speakers, margin: float, t: float) -> tuple[float, int]:
    """The loss, and how many cosines with other speakers were hard."""
    logits, hard = [], 0
    for row, speaker in zip(cosines(loss, embeddings), speakers.tolist(), strict=True):
        theta = math.acos(row[speaker])
        assert theta + margin < math.pi  # beyond, the cosine is continued
        own = math.cos(theta + margin)
        hard += sum(c > own for j, c in enumerate(row) if j != speaker)
        logits.append(
            [loss.scale * (own if j == speaker else c if own >= c else c * (t + c)) for j, c in enumerate(row)]
        )
    return cross_entropy(logits, speakers.tolist()), hard


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("margin, scale, momentum", [(0.2, 32.0, 0.99), (0.5, 64.0, 0.5)])
def test_it_matches_the_formula(margin, scale, momentum, share):
    loss, (embeddings, speakers) = make(margin=margin, scale=scale, momentum=momentum), items()
    directions = torch.nn.functional.normalize(loss.classifier.weight.detach())[speakers]
    embeddings = embeddings + 6.0 * directions
    loss.margin_share = share
    t, mean = 0.0, cosines(loss, embeddings)[range(len(speakers)), speakers].mean()
    for _ in range(3):
        t = momentum * t + (1 - momentum) * mean
        expected, hard = naive(loss, embeddings, speakers, share * margin, t)
        assert 5 < hard < 0.9 * len(speakers) * (SPEAKERS - 1)
        assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-4)
        assert loss.t.item() == pytest.approx(t, rel=1e-5)
    value, _ = loss.eval()(embeddings, speakers)
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert loss.t.item() == pytest.approx(t, rel=1e-5)


def test_a_resumed_loss_goes_on_alike():
    first, (embeddings, speakers) = make(), items()
    first(embeddings, speakers)
    second = make()
    second.load_state_dict(first.state_dict())
    assert first.t != 0 and torch.equal(first.t, second.t)
    assert torch.equal(first(embeddings, speakers)[0], second(embeddings, speakers)[0])


def test_a_batch_that_is_not_finite_does_not_stay():
    loss, (embeddings, speakers) = make(), items()
    loss(embeddings, speakers)
    before = loss.t.clone()
    loss(embeddings * math.nan, speakers)
    assert torch.equal(loss.t, before)


def test_two_losses_of_one_batch_can_be_differentiated():
    """Mixup calls the loss twice before the backward pass."""
    loss, (embeddings, speakers) = make(), items()
    embeddings.requires_grad_()
    (loss(embeddings, speakers)[0] + loss(embeddings, speakers.flip(0))[0]).backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": 2.0}, "margin=2.0 must be between"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"momentum": 1.0}, "momentum=1.0 must lie"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
