"""Identification by embeddings against scikit-learn and plain loops."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.neighbors import KNeighborsClassifier

from speakerlab import InputError
from speakerlab.scoring import enrolled as module
from speakerlab.scoring.enrolled import (
    USUAL_SCALE,
    authenticate,
    by_centroid,
    by_neighbours,
    enrol,
    posterior_scale,
)


def voices(speakers: int, utterances: int, seed: int, dim: int = 8, spread: float = 0.6):
    """Embeddings around one direction a speaker, in shuffled order: `(n, dim)`, `(n,)`."""
    generator = np.random.default_rng(seed)
    means = np.random.default_rng(99).standard_normal((speakers, dim))
    classes = generator.permutation(np.repeat(np.arange(speakers), utterances))
    rows = means[classes] + spread * generator.standard_normal((len(classes), dim))
    return (rows * generator.uniform(0.1, 10, (len(classes), 1))).astype(np.float32), classes


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(params=[1 << 28, 600], ids=["one block", "blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", request.param)


def centroids_by_loop(rows, classes) -> np.ndarray:
    return np.stack([unit(unit(rows[classes == speaker]).mean(axis=0)) for speaker in range(classes.max() + 1)])


def test_centroids_by_a_loop(blocks):
    known, classes = voices(9, 4, seed=0)
    tested, truth = voices(9, 3, seed=1)
    model = enrol(known, classes)
    cosines = unit(tested) @ centroids_by_loop(known, classes).T
    found = by_centroid(model, tested, truth)
    np.testing.assert_array_equal(found.predicted, cosines.argmax(axis=1))
    np.testing.assert_array_equal(found.first, np.argsort(-cosines, axis=1)[:, :5])
    expected_rank = [
        1 + sum(other > row[speaker] for other in row) for row, speaker in zip(cosines, truth, strict=True)
    ]
    assert found.rank.tolist() == expected_rank
    assert 0.5 < (found.predicted == truth).mean() < 1.0, "too easy or too hard to tell a wrong classifier"
    posteriors = softmax(posterior_scale(model) * cosines, axis=1)
    np.testing.assert_allclose(found.posteriors, np.take_along_axis(posteriors, found.first, axis=1), rtol=1e-4)


def test_the_scale_is_the_likeliest(blocks):
    known, classes = voices(6, 5, seed=0, spread=1.0)
    known, classes = np.concatenate([known, known[:1] * -1]), np.append(classes, 6)  # a speaker with one utterance
    scale, losses = posterior_scale(enrol(known, classes)), []
    grid = [scale * factor for factor in (0.5, 0.9, 0.98, 1.0, 1.02, 1.1, 2.0)]
    for one in grid:
        loss = 0.0
        for i, speaker in enumerate(classes[:-1]):
            centroids = centroids_by_loop(known, classes)
            others = (classes == speaker) & (np.arange(len(classes)) != i)
            centroids[speaker] = unit(unit(known[others]).mean(axis=0))
            loss -= log_softmax(one * (centroids @ unit(known[i])))[speaker]
        losses.append(loss)
    assert np.argmin(losses) == 3, losses


def test_a_scale_without_two_utterances():
    known, classes = voices(6, 1, seed=0)
    assert posterior_scale(enrol(known, classes)) == USUAL_SCALE


@pytest.mark.parametrize("neighbours", [1, 3, 5, 36])
def test_neighbours_by_scikit_learn(blocks, neighbours):
    known, classes = voices(9, 4, seed=0)
    tested, truth = voices(9, 5, seed=1)
    found = by_neighbours(enrol(known, classes), tested, truth, neighbours)
    peer = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute").fit(known, classes)
    shares = peer.predict_proba(tested)
    assert np.allclose(found.probability, shares.max(axis=1))
    np.testing.assert_allclose(found.posteriors, np.take_along_axis(shares, found.first, axis=1), atol=1e-12)
    cosines = unit(tested) @ unit(known).T
    for i, row in enumerate(cosines):  # most votes; among equals the nearest
        order = sorted(range(9), key=lambda speaker: (-shares[i, speaker], -row[classes == speaker].max()))
        assert found.first[i].tolist() == order[:5] and found.rank[i] == 1 + order.index(truth[i])


def test_authentication_is_every_claim(blocks):
    known, classes = voices(5, 3, seed=0)
    tested, truth = voices(5, 4, seed=1)
    claims = authenticate(enrol(known, classes), tested, truth)
    assert len(claims.scores) == 20 * 5 and claims.labels.sum() == 20
    assert len({*zip(claims.utterance.tolist(), claims.speaker.tolist(), strict=True)}) == 100
    np.testing.assert_array_equal(claims.labels, truth[claims.utterance] == claims.speaker)
    cosines = unit(tested) @ centroids_by_loop(known, classes).T
    np.testing.assert_allclose(claims.scores, cosines[claims.utterance, claims.speaker], atol=1e-6)


@pytest.mark.parametrize("most", [1, 60, 61, 100, 139, 140, 1000])
def test_fewer_claims_than_all(most):
    known, classes = voices(7, 3, seed=0)
    tested, truth = voices(7, 4, seed=1)
    claims = authenticate(enrol(known, classes), tested, truth, most)
    assert len(claims.scores) <= max(most, 2 * 28)  # a genuine claim and an impostor's each, at least
    pairs = [*zip(claims.utterance.tolist(), claims.speaker.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs) == 28 * (len(pairs) // 28)
    np.testing.assert_array_equal(claims.labels, truth[claims.utterance] == claims.speaker)
    others = np.bincount(claims.speaker[claims.labels == 0], minlength=7)
    assert others.max() - others.min() <= 8 and (others > 0).all()  # nobody is left out


def test_fewer_claims_are_evenly_spaced():
    known, classes = voices(7, 3, seed=0)
    claims = authenticate(enrol(known, classes), known, classes, most=3 * 21)
    assert set(((claims.speaker - classes[claims.utterance]) % 7).tolist()) == {0, 1, 4}


def test_what_can_not_be_enrolled():
    with pytest.raises(InputError, match="class 1 has no enrolled utterance"):
        enrol(np.eye(3), [0, 2, 2])
    with pytest.raises(InputError, match="1 of 3 embeddings are zero, NaN or infinite"):
        enrol(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), [0, 1, 1])
    known, classes = voices(3, 2, seed=0)
    for neighbours in (0, 7):
        with pytest.raises(InputError, match=f"neighbours={neighbours} must be 1 to 6, the enrolled utterances"):
            by_neighbours(enrol(known, classes), known, classes, neighbours)
