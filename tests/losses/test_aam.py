"""Additive angular margin against the formula with angles, and against pytorch-metric-learning."""

import math

import numpy as np
import pytest
import torch
from loss_reference import cross_entropy
from pytorch_metric_learning.losses import ArcFaceLoss, SubCenterArcFaceLoss

from speakerlab.losses.aam import AamSoftmax, add_angular_margin, subtract_angular_margin

DIM, SPEAKERS, BATCH = 12, 7, 40


def make(seed: int = 0, **arguments) -> AamSoftmax:
    torch.manual_seed(seed)
    return AamSoftmax(DIM, SPEAKERS, **arguments)


def items() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 3.0 * torch.randn(BATCH, DIM, generator=generator), torch.arange(BATCH) % SPEAKERS


def cosines(loss: AamSoftmax, embeddings: torch.Tensor) -> np.ndarray:
    """`(batch, speakers)` float64."""
    x, w = embeddings.detach().double().numpy(), loss.classifier.weight.detach().double().numpy()
    return (x @ w.T) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=1)


def naive(cosine: np.ndarray, speakers: list[int], margin: float, scale: float, easy: bool = False) -> float:
    """Equation 3 of the paper, item by item, with angles."""
    losses = []
    for row, speaker in zip(cosine, speakers, strict=True):
        theta = math.acos(row[speaker])
        if easy and theta >= math.pi / 2:
            own = row[speaker]
        elif not easy and theta + margin > math.pi:
            own = row[speaker] - margin * math.sin(margin)
        else:
            own = math.cos(theta + margin)
        terms = [scale * (own if j == speaker else other) for j, other in enumerate(row)]
        top = max(terms)
        losses.append(top + math.log(sum(math.exp(term - top) for term in terms)) - terms[speaker])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin, scale", [(0.2, 32.0), (0.5, 64.0), (1.5, 10.0), (0.0, 30.0)])
def test_it_matches_the_formula(margin, scale, easy_margin):
    loss, (embeddings, speakers) = make(margin=margin, scale=scale, easy_margin=easy_margin), items()
    value, _ = loss(embeddings, speakers)
    expected = naive(cosines(loss, embeddings), speakers.tolist(), margin, scale, easy_margin)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("margin, scale", [(0.2, 32.0), (0.5, 64.0)])
def test_it_matches_pytorch_metric_learning(margin, scale):
    ours, (embeddings, speakers) = make(margin=margin, scale=scale), items()
    theirs = ArcFaceLoss(SPEAKERS, DIM, margin=math.degrees(margin), scale=scale)
    with torch.no_grad():
        theirs.W.copy_(ours.classifier.weight.T)
    angles = np.arccos(cosines(ours, embeddings))[np.arange(BATCH), speakers]
    assert (angles + margin < math.pi).all()  # beyond pi the two part
    first, second = (embeddings.clone().requires_grad_() for _ in range(2))
    value, expected = ours(first, speakers)[0], theirs(second, speakers)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    value.backward()
    expected.backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(ours.classifier.weight.grad, theirs.W.grad.T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_and_opposite_embeddings(sign, margin, easy_margin, dtype):
    """Cosines of exactly 1 and -1, where the slope of the arc cosine is infinite."""
    loss = make(margin=margin, easy_margin=easy_margin)
    with torch.no_grad():
        loss.classifier.weight.copy_(torch.eye(SPEAKERS, DIM))
    embeddings = (sign * torch.eye(SPEAKERS, DIM)).to(dtype or torch.float32).requires_grad_()
    speakers = torch.arange(SPEAKERS)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        value, logits = loss(embeddings, speakers)
    value.backward()
    assert value.dtype == logits.dtype == torch.float32
    assert value.isfinite() and embeddings.grad.isfinite().all() and loss.classifier.weight.grad.isfinite().all()
    assert torch.equal(logits.diagonal(), torch.full((SPEAKERS,), sign * 32.0))
    if easy_margin and sign < 0:
        margin = 0.0  # no margin beyond 90 degrees
    own = sign - margin * math.sin(margin) if sign < 0 else math.cos(margin)
    expected = math.log(math.exp(32 * own) + SPEAKERS - 1) - 32 * own
    # The cosine is held 1e-6 below 1, which moves the angle by 1.4e-3.
    assert value.item() == pytest.approx(expected, abs=32 * 1.5e-3)


@pytest.mark.parametrize("easy_margin", [False, True])
def test_logits_are_without_the_margin(easy_margin):
    loss, (embeddings, speakers) = make(margin=0.5, scale=20.0, easy_margin=easy_margin), items()
    _, logits = loss(embeddings.requires_grad_(), speakers)
    assert logits.shape == (BATCH, SPEAKERS) and not logits.requires_grad
    np.testing.assert_allclose(logits.numpy(), 20.0 * cosines(loss, embeddings), atol=1e-4)


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5, 1.0, math.pi / 2])
def test_it_falls_with_the_angle(margin):
    angles = torch.linspace(0.01, math.pi - 0.01, 5000, dtype=torch.float64)
    shifted = add_angular_margin(angles.cos(), margin)
    assert (shifted.diff() < 0).all()
    assert (shifted < angles.cos()).all()  # never easier than without
    inside = angles + margin < math.pi
    torch.testing.assert_close(shifted[inside], (angles[inside] + margin).cos())


def test_easy_margin_spares_wide_angles():
    angles = torch.linspace(0.01, math.pi - 0.01, 5000, dtype=torch.float64)
    shifted, narrow = add_angular_margin(angles.cos(), 0.3, easy_margin=True), angles < math.pi / 2
    torch.testing.assert_close(shifted[narrow], (angles[narrow] + 0.3).cos())
    assert torch.equal(shifted[~narrow], angles[~narrow].cos())


def test_no_margin_is_a_plain_normalised_softmax():
    loss, (embeddings, speakers) = make(margin=0.0, scale=15.0), items()
    value, _ = loss(embeddings, speakers)
    expected = torch.nn.functional.cross_entropy(15.0 * torch.from_numpy(cosines(loss, embeddings)), speakers)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_schedule_may_set_the_margin():
    loss, (embeddings, speakers) = make(margin=0.4), items()
    values = []
    for margin in (0.0, 0.2, 0.4):
        loss.margin_share = margin / 0.4
        values.append(loss(embeddings, speakers)[0].item())
        assert values[-1] == pytest.approx(naive(cosines(loss, embeddings), speakers.tolist(), margin, 32.0), rel=1e-5)
    assert values == sorted(values) and len(set(values)) == 3


def test_lengths_of_embeddings_do_not_matter():
    loss, (embeddings, speakers) = make(), items()
    torch.testing.assert_close(loss(embeddings, speakers)[0], loss(1000.0 * embeddings, speakers)[0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"margin": -0.1}, "margin=-0.1 must be"),
        ({"margin": 2.0}, "margin=2.0 must be between 0 and pi / 2"),
        ({"scale": 0.0}, "scale=0.0 must be positive"),
        ({"scale": -3.0}, "scale=-3.0 must be positive"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def naive_with_options(loss: AamSoftmax, embeddings, speakers: list[int], share: float, looked_at: list[int]) -> float:
    """The loss over some of the speakers, with the nearest row of each, and the nearest others brought nearer."""
    rows = loss.classifier.weight.detach().double().numpy().reshape(SPEAKERS, -1, DIM)
    logits = []
    for x, speaker in zip(embeddings.detach().double().numpy(), speakers, strict=True):
        angles = {j: min(math.acos(x @ w / np.linalg.norm(x) / np.linalg.norm(w)) for w in rows[j]) for j in looked_at}
        hard = sorted((j for j in looked_at if j != speaker), key=angles.get)[: loss.top_k]
        row = []
        for j, theta in angles.items():
            if j == speaker:
                theta += share * loss.margin
            elif j in hard:
                theta -= share * loss.top_k_margin
            assert 0 < theta < math.pi  # beyond, the cosine is continued
            row.append(loss.scale * math.cos(theta))
        logits.append(row)
    return cross_entropy(logits, [looked_at.index(speaker) for speaker in speakers])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "options",
    [
        {"subcenters": 3},
        {"top_k": 2},
        {"top_k": 50, "top_k_margin": 0.1},
        {"subcenters": 2, "top_k": 3, "sampled_share": 0.7},
    ],
)
def test_options_match_the_formula(options, share):
    loss, (embeddings, speakers) = make(margin=0.3, **options), items()
    loss.margin_share = share
    embeddings, speakers = embeddings[:4], speakers[:4]  # so that there are others to sample
    value, logits = loss(embeddings, speakers)
    looked_at = [j for j in range(SPEAKERS) if logits[0, j] > -math.inf]
    assert len(looked_at) == math.ceil(options.get("sampled_share", 1.0) * SPEAKERS)
    expected = naive_with_options(loss, embeddings, speakers.tolist(), share, looked_at)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_subcenters_match_pytorch_metric_learning():
    ours, (embeddings, speakers) = make(margin=0.3, scale=20.0, subcenters=3), items()
    theirs = SubCenterArcFaceLoss(
        num_classes=SPEAKERS, embedding_size=DIM, margin=math.degrees(0.3), scale=20.0, sub_centers=3
    )
    with torch.no_grad():
        theirs.W.copy_(ours.classifier.weight.T)
    torch.testing.assert_close(ours(embeddings, speakers)[0], theirs(embeddings, speakers), rtol=1e-5, atol=1e-5)


def test_a_margin_for_each_item():
    cosine = torch.linspace(-0.999, 0.999, 40, dtype=torch.float64)
    margins = torch.linspace(0.0, 1.0, 40, dtype=torch.float64)
    for easy in (False, True):
        expected = torch.stack([add_angular_margin(c, m.item(), easy) for c, m in zip(cosine, margins)])
        torch.testing.assert_close(add_angular_margin(cosine, margins, easy), expected)


@pytest.mark.parametrize("margin", [0.06, 0.3, 1.0])
def test_a_smaller_angle(margin):
    angles = torch.linspace(0.01, math.pi - 0.01, 5000, dtype=torch.float64)
    nearer = subtract_angular_margin(angles.cos(), margin)
    assert (nearer.diff() < 0).all() and (nearer > angles.cos()).all()
    inside = angles > margin
    torch.testing.assert_close(nearer[inside], (angles[inside] - margin).cos())
