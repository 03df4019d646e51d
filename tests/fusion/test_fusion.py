"""Each kind against a loop over items, branches, heads and dimensions, written from its paper."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab.fusion.fusion import KINDS, Fusion, keep_some, normalise

DIMS, SIZE = (5, 3, 7), 8


def fusion(kind: str, **changes) -> Fusion:
    """In evaluation mode, every weight random: a gate that begins with zeros would weigh all alike."""
    torch.manual_seed(0)
    made = Fusion(DIMS, kind, embed_dim=SIZE, heads=2, **changes).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
        made.embedding_norm.running_mean.normal_()
        made.embedding_norm.running_var.uniform_(0.5, 2.0)
    return made


def embeddings(batch: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [3.0 * torch.randn(batch, dim, generator=generator) + 1.0 for dim in DIMS]


def dense(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def layer_normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def by_hand(made: Fusion, item: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray | None]:
    """One item's embedding and weights: `item` has each branch's embedding, None for a missing one."""
    there = [i for i, x in enumerate(item) if x is not None]
    seen = [np.zeros(dim) if x is None else layer_normed(x) for x, dim in zip(item, made.dims, strict=True)]
    parts = {i: np.tanh(dense(made.project[i], seen[i])) for i in there}
    weights = None
    if made.kind == "mean":
        weights = np.array([1 / len(there) if i in there else 0.0 for i in range(3)])
        fused = sum(weights[i] * parts[i] for i in there)
    elif made.kind == "concatenate":
        fused = dense(made.combine.project, np.concatenate([parts.get(i, np.zeros(SIZE)) for i in range(3)]))
    elif made.kind == "cross_attention":
        fused, weights = attention_by_hand(made.combine, parts)
    else:
        width = SIZE if made.kind == "gated" else 1
        logits = dense(made.combine.gate, np.concatenate(seen)).reshape(3, width)
        weights = np.zeros((3, width))
        for column in range(width):
            weights[there, column] = softmax(logits[there, column])
        fused = sum(weights[i] * parts[i] for i in there)
        weights = weights[:, 0] if width == 1 else weights
    norm = made.embedding_norm
    mean, variance, gain, offset = (
        tensor.detach().double().numpy() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (fused - mean) / np.sqrt(variance + norm.eps) * gain + offset, weights


def attention_by_hand(combine: nn.Module, parts: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    size = SIZE // 2  # of a head
    triples = {i: dense(combine.project, part).reshape(3, 2, size) for i, part in parts.items()}
    weights, outcomes = np.zeros(3), []
    for asks, part in parts.items():
        heads = []
        for head in range(2):
            scores = [triples[asks][0, head] @ triples[i][1, head] / math.sqrt(size) for i in parts]
            attention = softmax(np.array(scores))
            heads.append(sum(a * triples[i][2, head] for a, i in zip(attention, parts, strict=True)))
            for a, i in zip(attention, parts, strict=True):
                weights[i] += a / (2 * len(parts))
        total = part + dense(combine.out, np.concatenate(heads))
        gain, offset = (tensor.detach().double().numpy() for tensor in (combine.norm.weight, combine.norm.bias))
        outcomes.append(layer_normed(total) * gain + offset)
    return np.mean(outcomes, axis=0), weights


@pytest.mark.parametrize("missing", [(), (0,), (0, 2)])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_it_is_what_the_papers_say(kind, missing):
    made, parts = fusion(kind), embeddings()
    given = [None if i in missing else part for i, part in enumerate(parts)]
    found = made(given)
    weights = None if kind == "concatenate" else made.weights(given)
    for row in range(4):
        item = [None if part is None else part[row].double().numpy() for part in given]
        expected, expected_weights = by_hand(made, item)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-4, atol=1e-4)
        if weights is not None:
            np.testing.assert_allclose(weights[row].numpy(), expected_weights, atol=1e-5)
            np.testing.assert_allclose(weights[row].sum(0).numpy(), 1.0, rtol=1e-5)
            assert (weights[row][list(missing)] == 0).all()
    if weights is not None:
        assert weights.shape == ((4, 3, SIZE) if kind == "gated" else (4, 3))
    if kind in ("softmax", "gated", "cross_attention") and len(missing) < 2:
        assert weights.std(dim=0).max() > 0.01  # items differ


@pytest.mark.parametrize("kind", ["softmax", "gated"])
def test_a_gate_begins_with_equal_trust_and_learns(kind):
    torch.manual_seed(0)
    made = Fusion(DIMS, kind, embed_dim=SIZE)
    assert torch.allclose(made.eval().weights(embeddings()), torch.tensor(1 / 3))
    made.train()(embeddings()).square().mul(torch.arange(SIZE)).sum().backward()
    assert made.combine.gate.weight.grad.abs().max() > 0


@pytest.mark.parametrize("norm, scale", [("layer", 5.0), ("length", 5.0), ("none", 1.0)])
def test_embeddings_of_any_size_weigh_alike(norm, scale):
    """Layer and length norm forget how long a branch's embeddings are; layer norm their mean, too."""
    x = embeddings()[2]
    found = normalise(scale * x, norm)
    torch.testing.assert_close(found, normalise(x, norm), rtol=1e-4, atol=1e-4)
    rows = x.double().numpy()
    expected = {
        "layer": np.stack([layer_normed(row) for row in rows]),
        "length": np.stack([row / np.linalg.norm(row) * math.sqrt(len(row)) for row in rows]),
        "none": rows,
    }[norm]
    np.testing.assert_allclose(normalise(x, norm).numpy(), expected, atol=1e-4)
    assert normalise(x.half(), norm).dtype == torch.float32


@pytest.mark.parametrize("probability", [0.1, 0.6])
def test_branches_are_dropped_as_often_as_asked_and_never_all(probability):
    """Of three branches each stays, besides by its own draw, in a third of the cases in which all would go."""
    torch.manual_seed(0)
    kept = keep_some(torch.ones(20_000, 3, dtype=torch.bool), probability)
    assert kept.any(dim=1).all()
    expected = 1 - probability + probability**3 / 3
    np.testing.assert_allclose(kept.float().mean(dim=0).numpy(), expected, atol=0.015)
    counts = torch.bincount(kept.sum(dim=1), minlength=4) / 20_000
    alone = 3 * probability**2 * (1 - probability) + probability**3
    np.testing.assert_allclose(counts[1:3].numpy(), [alone, 3 * probability * (1 - probability) ** 2], atol=0.015)


def test_a_missing_branch_is_never_the_one_that_stays():
    torch.manual_seed(0)
    present = torch.tensor([[False, True, False], [True, False, True]]).repeat(2000, 1)
    kept = keep_some(present, 0.9)
    assert kept[::2].equal(present[::2]) and not kept[:, 1][1::2].any() and kept.any(dim=1).all()


def test_training_hides_branches_and_evaluation_does_not():
    """A hidden branch changes nothing: neither by its embedding nor by what the gate sees of it."""
    made, parts = fusion("gated", branch_dropout=0.5), embeddings(64)
    torch.manual_seed(3)
    hidden = ~keep_some(torch.ones(64, 3, dtype=torch.bool), 0.5)
    changed = [torch.where(hidden[:, i, None], 9.0 * torch.randn_like(part), part) for i, part in enumerate(parts)]
    found = []
    for given in (parts, changed):
        torch.manual_seed(3)
        found.append(made.train().weights(given))
    assert torch.equal(*found) and (found[0] == 0).all(dim=2).equal(hidden)
    assert (made.eval().weights(parts) > 0).all()
    made = fusion("gated", branch_dropout=0.0).train()
    state = torch.get_rng_state()
    assert (made.weights(parts) > 0).all() and torch.equal(torch.get_rng_state(), state)


def test_gradients_are_finite_where_branches_are_hidden():
    for kind in KINDS:
        made, parts = fusion(kind, branch_dropout=0.8).train(), [part.requires_grad_() for part in embeddings(16)]
        (made(parts) * torch.randn(16, SIZE)).sum().backward()
        assert all(part.grad.isfinite().all() for part in parts)
        assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dims": [4]}, "at least two branches, not 1"),
        ({"kind": "sum"}, "kind=sum must be softmax, gated, cross_attention, concatenate or mean"),
        ({"norm": "batch"}, "norm=batch must be layer, length or none"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"branch_dropout": 1.0}, "branch_dropout=1.0 must lie in 0 to below 1"),
        ({"kind": "cross_attention", "heads": 3}, "heads=3 must divide embed_dim=256"),
    ],
)
def test_values_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        Fusion(**{"dims": [4, 4]} | changes)


def test_what_was_given_must_be_of_the_branches():
    made = fusion("gated")
    with pytest.raises(ValueError, match="embeddings of 2 branches were given, not of 3"):
        made(embeddings()[:2])
    with pytest.raises(ValueError, match="at least one branch must be there"):
        made([None] * 3)
    with pytest.raises(ValueError, match="kind=concatenate weighs no branches"):
        fusion("concatenate").weights(embeddings())
