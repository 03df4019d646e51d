"""AdaCos: the published scales, the scale's course against a loop, and what keeps it."""

import copy
import math

import pytest
import torch
from loss_reference import DIM, SPEAKERS, cosines, cross_entropy, items

from speakerlab.losses.adacos import AdaCos


def make(speakers: int = SPEAKERS, **arguments) -> AdaCos:
    torch.manual_seed(0)
    return AdaCos(DIM, speakers, **arguments)


def naive_scale(loss: AdaCos, embeddings, speakers, last: float) -> float:
    rows = cosines(loss, embeddings)
    own = [row[speaker] for row, speaker in zip(rows, speakers, strict=True)]
    total = sum(
        math.exp(last * c)
        for row, speaker in zip(rows, speakers, strict=True)
        for j, c in enumerate(row)
        if j != speaker
    )
    angles = sorted(math.acos(c) for c in own)
    return math.log(total / len(rows)) / math.cos(min(math.pi / 4, angles[len(angles) // 2]))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("speakers, scale", [(1211, 10.0386), (5994, 12.3013)])
def test_it_starts_at_the_published_scale(speakers, scale, dynamic):
    assert make(speakers, dynamic=dynamic).scale.item() == pytest.approx(scale, abs=5e-5)


def test_the_fixed_scale_stays():
    loss, (embeddings, speakers) = make(dynamic=False), items()
    start = math.sqrt(2) * math.log(SPEAKERS - 1)
    for _ in range(3):
        expected = cross_entropy((start * cosines(loss, embeddings)).tolist(), speakers.tolist())
        assert loss(embeddings, speakers)[0].item() == pytest.approx(expected, rel=1e-5)
    assert loss.scale.item() == pytest.approx(start)


@pytest.mark.parametrize("towards", [0.0, 0.5, 4.0])
def test_the_dynamic_scale_follows_the_batches(towards):
    """Embeddings apart from their speakers, half-way, and near: angles on both sides of the limit of pi / 4."""
    loss, (embeddings, speakers) = make(), items(batch=31)
    directions = torch.nn.functional.normalize(loss.classifier.weight.detach())[speakers]
    embeddings = torch.nn.functional.normalize(embeddings) + towards * directions
    scale = loss.scale.item()
    for _ in range(4):
        scale = naive_scale(loss, embeddings, speakers.tolist(), scale)
        expected = cross_entropy((scale * cosines(loss, embeddings)).tolist(), speakers.tolist())
        value, logits = loss(embeddings, speakers)
        assert loss.scale.item() == pytest.approx(scale, rel=1e-5)
        assert value.item() == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(
            logits, torch.from_numpy(scale * cosines(loss, embeddings)).float(), atol=1e-4, rtol=0
        )


def test_evaluation_leaves_the_scale():
    loss, (embeddings, speakers) = make(), items()
    loss(embeddings, speakers)
    scale = loss.scale.clone()
    loss.eval()(3.0 * embeddings.flip(0), speakers)
    assert torch.equal(loss.scale, scale)


def test_a_resumed_loss_goes_on_alike():
    first, (embeddings, speakers) = make(), items()
    for _ in range(3):
        first(embeddings, speakers)
    second = make()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.scale, first.scale) and not torch.equal(second.scale, make().scale)
    for _ in range(3):
        assert torch.equal(first(embeddings, speakers)[0], second(embeddings, speakers)[0])


def test_a_batch_that_is_not_finite_does_not_stay():
    """Loss scaling skips a step that has overflowed; the scale must not keep its trace."""
    loss, (embeddings, speakers) = make(), items()
    before = copy.deepcopy(loss.state_dict())
    loss(embeddings * math.nan, speakers)
    assert torch.equal(loss.scale, before["scale"])


def test_two_losses_of_one_batch_can_be_differentiated():
    """Mixup calls the loss twice before the backward pass."""
    loss, (embeddings, speakers) = make(), items()
    embeddings.requires_grad_()
    (loss(embeddings, speakers)[0] + loss(embeddings, speakers.flip(0))[0]).backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("speakers", [1, 2, 3])
def test_few_speakers_have_a_positive_scale(speakers):
    loss, (embeddings, _) = make(speakers), items()
    for _ in range(5):
        loss(embeddings, torch.arange(len(embeddings)) % speakers)
        assert loss.scale.item() >= 0.98
