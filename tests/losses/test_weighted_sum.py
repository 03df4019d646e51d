"""Sums of losses."""

import math

import pytest
import torch
from torch import nn

from speakerlab.losses.aam import AamSoftmax
from speakerlab.losses.angular_prototypical import AngularPrototypical
from speakerlab.losses.weighted_sum import WeightedSum, logits_of

SPEAKERS = torch.arange(4).repeat_interleave(2)


class Compared(nn.Module):
    """A metric loss of three utterances a speaker."""

    utterances_per_speaker = 3

    def forward(self, embeddings, speakers):
        return embeddings.square().mean(), None


class Classified(nn.Module):
    def __init__(self, logit: float):
        super().__init__()
        self.logit = logit

    def forward(self, embeddings, speakers):
        return embeddings.sum(), torch.full((len(embeddings), 4), self.logit)


def embeddings() -> torch.Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


def test_it_is_the_sum():
    torch.manual_seed(0)
    aam, prototypical = AamSoftmax(5, 4), AngularPrototypical(5, 4)
    both = WeightedSum({"a": aam, "b": prototypical}, {"a": 0.3, "b": 2.0})
    first, second = (embeddings().requires_grad_() for _ in range(2))
    value, logits = both(first, SPEAKERS)
    (one, expected_logits), (other, _) = aam(second, SPEAKERS), prototypical(second, SPEAKERS)
    torch.testing.assert_close(value, 0.3 * one + 2.0 * other)
    torch.testing.assert_close(logits, expected_logits)
    value.backward()
    (0.3 * one + 2.0 * other).backward()
    torch.testing.assert_close(first.grad, second.grad)


def test_the_first_that_has_logits_gives_them():
    losses = {"compared": Compared(), "first": Classified(1.0), "second": Classified(2.0)}
    _, logits = WeightedSum(losses, dict.fromkeys(losses, 1.0))(embeddings(), SPEAKERS)
    assert torch.equal(logits, torch.ones(8, 4))
    assert WeightedSum({"compared": Compared()}, {"compared": 1.0})(embeddings(), SPEAKERS)[1] is None


class Refuses(Compared):
    """A metric loss that is handed a batch not made for it."""

    def forward(self, embeddings, speakers):
        raise ValueError("a metric loss needs equally many utterances of each speaker")


def test_logits_need_no_batches_of_pairs():
    """Of utterances in any order, such as those to identify."""
    inner = WeightedSum({"pairs": Refuses(), "named": Classified(2.0)}, {"pairs": 1.0, "named": 1.0})
    both = WeightedSum({"pairs": Refuses(), "inner": inner}, {"pairs": 1.0, "inner": 1.0})
    for loss in (Classified(2.0), inner, both):
        assert torch.equal(logits_of(loss, embeddings()[:1], SPEAKERS[:1]), torch.full((1, 4), 2.0))
    for loss in (Refuses(), WeightedSum({"pairs": Refuses()}, {"pairs": 1.0})):
        assert logits_of(loss, embeddings(), SPEAKERS) is None


def test_the_most_demanding_sets_the_utterances():
    def needed(**losses: nn.Module) -> int:
        return WeightedSum(losses, dict.fromkeys(losses, 1.0)).utterances_per_speaker

    assert needed(a=Classified(1.0)) == 1
    assert needed(a=Classified(1.0), b=AngularPrototypical(5, 4)) == 2
    assert needed(a=Compared(), b=AngularPrototypical(5, 4)) == 3
    inner = WeightedSum({"c": Compared()}, {"c": 1.0})
    assert needed(a=inner, b=Classified(1.0)) == 3


def test_parameters_of_all_are_there():
    both = WeightedSum({"a": AamSoftmax(5, 4), "b": AngularPrototypical(5, 4)}, {"a": 1.0, "b": 1.0})
    assert set(both.state_dict()) == {"losses.a.classifier.weight", "losses.b.scale", "losses.b.offset"}


@pytest.mark.parametrize(
    "names, weights, message",
    [
        ("", {}, "losses: name at least one"),
        ("ab", {"a": 1.0}, r"losses\.b has no weight: give weights\.b"),
        ("a", {"a": 1.0, "b": 1.0}, r"weights\.b is for no loss: there are a"),
        ("a", {}, r"losses\.a has no weight"),
        ("a", {"a": 0.0}, r"weights\.a=0\.0 must be positive"),
        ("a", {"a": -1.0}, r"weights\.a=-1\.0 must be positive"),
        ("a", {"a": math.nan}, r"weights\.a=nan must be positive"),
    ],
)
def test_bad_settings_are_refused(names, weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedSum({name: Classified(1.0) for name in names}, weights)
