"""Sub-centres and sampled classes."""

import math

import pytest
import torch
from torch.nn import functional as F

from speakerlab.losses.aam import AamSoftmax
from speakerlab.losses.cosine_classifier import CosineClassifier

DIM, SPEAKERS = 8, 40


def make(**arguments) -> CosineClassifier:
    torch.manual_seed(0)
    return CosineClassifier(DIM, SPEAKERS, **arguments)


def items() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, DIM, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 39, 3, 0, 17, 21])


def test_the_nearest_of_a_speakers_rows_counts():
    classifier, (embeddings, speakers) = make(subcenters=3), items()
    cosine, columns, classes = classifier(embeddings, speakers)
    assert classes is None and torch.equal(columns, speakers) and cosine.shape == (6, SPEAKERS)
    for i, x in enumerate(embeddings):
        for j in range(SPEAKERS):
            expected = F.cosine_similarity(x[None], classifier.weight[3 * j : 3 * j + 3]).max()
            assert cosine[i, j].item() == pytest.approx(expected.item(), abs=1e-6)


def test_only_the_nearest_row_is_taught():
    classifier, (embeddings, speakers) = make(subcenters=3), items()
    cosine, _, _ = classifier(embeddings[:1], speakers[:1])
    cosine[0, 5].backward()
    taught = classifier.weight.grad.norm(dim=1).nonzero().flatten().tolist()
    assert taught == [15 + F.cosine_similarity(embeddings[:1], classifier.weight[15:18]).argmax().item()]


@pytest.mark.parametrize("subcenters", [1, 2])
def test_a_sample_holds_the_batchs_own_speakers(subcenters):
    everyone = make(subcenters=subcenters)(*items())[0]
    classifier, (embeddings, speakers) = make(subcenters=subcenters, sampled_share=0.2), items()
    for _ in range(20):
        cosine, columns, classes = classifier(embeddings, speakers)
        assert classes.tolist() == sorted(set(classes.tolist())) and len(classes) == 8
        assert torch.equal(classes[columns], speakers)
        torch.testing.assert_close(cosine, everyone[:, classes])


def test_a_batch_of_more_speakers_than_the_sample():
    classifier, speakers = make(sampled_share=0.05), torch.arange(12).repeat(2)
    _, columns, classes = classifier(torch.randn(24, DIM), speakers)
    assert set(range(12)) <= set(classes.tolist())
    assert torch.equal(classes[columns], speakers)


def test_the_others_are_drawn_uniformly():
    classifier, (_, speakers) = make(sampled_share=0.4), items()
    own, draws = set(speakers.tolist()), 3000
    counts = torch.zeros(SPEAKERS)
    for _ in range(draws):
        counts[classifier._sample(speakers)] += 1
    assert (counts[list(own)] == draws).all()
    others = counts[[j for j in range(SPEAKERS) if j not in own]]
    expected = draws * (16 - len(own)) / (SPEAKERS - len(own))
    # chi square over 35 speakers, drawn without replacement: less than 35 on average, over 70 once in thousands
    assert ((others - expected) ** 2 / (expected * (1 - expected / draws))).sum() < 70


def test_rows_not_drawn_get_no_gradient():
    classifier, (embeddings, speakers) = make(subcenters=2, sampled_share=0.2), items()
    cosine, _, classes = classifier(embeddings, speakers)
    cosine.square().sum().backward()
    slopes = classifier.weight.grad.view(SPEAKERS, 2, DIM).abs().amax(dim=(1, 2))
    drawn = torch.zeros(SPEAKERS, dtype=torch.bool)
    drawn[classes] = True
    assert (slopes[drawn] > 0).all() and (slopes[~drawn] == 0).all()


def test_evaluation_looks_at_all():
    classifier, (embeddings, speakers) = make(sampled_share=0.2).eval(), items()
    cosine, columns, classes = classifier(embeddings, speakers)
    assert classes is None and cosine.shape == (6, SPEAKERS) and torch.equal(columns, speakers)


def test_torchs_seed_repeats_the_draws():
    classifier, (_, speakers) = make(sampled_share=0.3), items()
    state = torch.get_rng_state()  # as checkpoints keep it
    first = [classifier._sample(speakers) for _ in range(3)]
    torch.set_rng_state(state)
    assert all(torch.equal(classifier._sample(speakers), drawn) for drawn in first)
    assert not torch.equal(first[0], first[1])


def test_logits_of_speakers_not_looked_at():
    classifier, (embeddings, speakers) = make(sampled_share=0.2), items()
    cosine, _, classes = classifier(embeddings, speakers)
    logits = classifier.logits(5.0 * cosine, classes)
    assert logits.shape == (6, SPEAKERS) and not logits.requires_grad
    torch.testing.assert_close(logits[:, classes], 5.0 * cosine.detach())
    rest = [j for j in range(SPEAKERS) if j not in classes.tolist()]
    assert (logits[:, rest] == -math.inf).all()


def test_a_loss_over_a_sample_is_that_over_a_smaller_classifier():
    torch.manual_seed(0)
    sampled, (embeddings, speakers) = AamSoftmax(DIM, SPEAKERS, sampled_share=0.2), items()
    state = torch.get_rng_state()
    classes = sampled.classifier._sample(speakers)
    torch.set_rng_state(state)
    value, _ = sampled(embeddings, speakers)
    smaller = AamSoftmax(DIM, len(classes))
    with torch.no_grad():
        smaller.classifier.weight.copy_(sampled.classifier.weight[classes])
    torch.testing.assert_close(value, smaller(embeddings, torch.searchsorted(classes, speakers))[0])


def test_a_speakers_weights_are_the_mean_direction_of_its_rows():
    classifier = make(subcenters=2)
    with torch.no_grad():
        classifier.weight[:2] = torch.tensor([[3.0, 0], [0, 0.1]]).repeat_interleave(4, dim=1)
    expected = F.normalize(F.normalize(classifier.weight[0], dim=0) + F.normalize(classifier.weight[1], dim=0), dim=0)
    assert classifier.speaker_weights().shape == (SPEAKERS, DIM)
    torch.testing.assert_close(classifier.speaker_weights()[0], expected.detach())
    torch.testing.assert_close(make().speaker_weights(), F.normalize(make().weight.detach()))


@pytest.mark.parametrize("value", [0.0, -0.5, 1.01])
def test_bad_shares_are_refused(value):
    with pytest.raises(ValueError, match=f"sampled_share={value} must lie above 0, to 1"):
        make(sampled_share=value)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="subcenters=0 must be at least 1"):
        make(subcenters=0)
