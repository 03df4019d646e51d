"""What every `conf/loss/*.yaml` and `conf/regulariser/*.yaml` must do, found by globbing: a new one gets all of it with
no edit here."""

from functools import cache

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.build import build_loss
from speakerlab.cli.launch import compose
from speakerlab.config import CONF

DIM, SPEAKERS, UTTERANCES = 16, 6, 3
LABELS = torch.arange(SPEAKERS).repeat_interleave(UTTERANCES)
CHANGES = [f"loss={path.stem}" for path in sorted((CONF / "loss").glob("*.yaml"))] + [
    f"regulariser={path.stem}" for path in sorted((CONF / "regulariser").glob("*.yaml"))
]
each_loss = pytest.mark.parametrize("change", CHANGES)


@cache
def config(change: str) -> DictConfig:
    """What the loss is built from; a regulariser comes with a softmax."""
    return compose("train", [change] if change.startswith("loss") else ["loss=softmax", change])[0]


def make(change: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_loss(config(change), DIM, SPEAKERS)


def noise(length: float = 1.0) -> Tensor:
    """`(batch, dim)`"""
    return length * torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(1))


def directions(kind: str) -> Tensor:
    """`(batch, dim)`: cosines of 1 and -1, within speakers, between them, and with the rows of a classifier."""
    signs = {
        "all alike": torch.ones(len(LABELS)),
        "speakers opposite": 1.0 - 2.0 * (LABELS % 2),
        "utterances opposite": 1.0 - 2.0 * (torch.arange(len(LABELS)) % 2),
    }[kind]
    return signs[:, None] * torch.eye(1, DIM)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["all alike", "speakers opposite", "utterances opposite", "each its own row"])
def test_extreme_cosines_are_finite(change, kind, dtype):
    """Value and gradients, where the slopes of square root and arc cosine are infinite."""
    loss = make(change)
    with torch.no_grad():
        for module in loss.modules():
            if hasattr(module, "classifier"):  # one direction for all, or one each
                rows = torch.eye(SPEAKERS, DIM) if kind == "each its own row" else torch.eye(1, DIM)
                module.classifier.weight.view(SPEAKERS, -1, DIM).copy_(rows.view(len(rows), 1, DIM))
    embeddings = torch.eye(SPEAKERS, DIM)[LABELS] if kind == "each its own row" else directions(kind)
    embeddings = embeddings.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16 if dtype == torch.float32 else dtype):
        value, logits = loss(embeddings, LABELS)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite() and embeddings.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters() if parameter.grad is not None)
    if logits is not None:
        assert logits.dtype == torch.float32 and logits.isfinite().all() and not logits.requires_grad


@each_loss
@pytest.mark.parametrize("length", [0.0, 1e-6, 1e-2, 1e3])
def test_any_length_of_embeddings_is_finite(change, length):
    loss, embeddings = make(change), noise(length).requires_grad_()
    value, _ = loss(embeddings, LABELS)
    value.backward()
    assert value.isfinite() and embeddings.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters() if parameter.grad is not None)


@each_loss
def test_it_runs_in_float32(change):
    """Whatever the precision around it."""
    with torch.autocast("cpu", torch.bfloat16):
        value, _ = make(change)(noise(), LABELS)
    torch.testing.assert_close(value, make(change)(noise(), LABELS)[0], rtol=0, atol=0)


def separation(embeddings: Tensor) -> float:
    """Mean cosine of two utterances of a speaker, less that of two speakers."""
    units = F.normalize(embeddings.detach())
    cosine, alike = units @ units.T, LABELS[:, None] == LABELS
    pairs = ~torch.eye(len(LABELS), dtype=torch.bool)
    return float(cosine[alike & pairs].mean() - cosine[~alike].mean())


@each_loss
def test_it_finds_what_tells_speakers_apart(change):
    """A linear network over a few values that are the speaker's and many that are not."""
    loss, generator = make(change), torch.Generator().manual_seed(2)
    voices = torch.randn(SPEAKERS, 8, generator=generator)

    def utterances() -> Tensor:
        own = voices[LABELS] + 0.3 * torch.randn(len(LABELS), 8, generator=generator)
        return torch.cat([own, torch.randn(len(LABELS), 16, generator=generator)], dim=1)  # (batch, 24)

    network = nn.Linear(24, DIM)
    optimizer = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=0.01)
    before = separation(network(utterances()))
    for _ in range(100):
        optimizer.zero_grad()
        loss(network(utterances()), LABELS)[0].backward()
        optimizer.step()
    assert separation(network(utterances())) > before + 0.3


@each_loss
def test_what_it_learned_survives(change):
    first, second = make(change), make(change, seed=1)
    optimizer = torch.optim.Adam(first.parameters(), lr=0.1) if list(first.parameters()) else None
    for _ in range(3):
        first(noise().requires_grad_(), LABELS)[0].backward()
        if optimizer is not None:
            optimizer.step()
    second.load_state_dict(first.state_dict())
    (value, logits), (again, same_logits) = (loss.eval()(noise(), LABELS) for loss in (first, second))
    assert torch.equal(value, again)
    assert logits is same_logits is None or torch.equal(logits, same_logits)
