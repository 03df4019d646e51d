"""PLDA: a known model is recovered, likelihoods rise, scores are ratios of Gaussian densities."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from speakerlab import InputError
from speakerlab.scoring.calibration_metrics import cllr, min_cllr
from speakerlab.scoring.metrics import error_rates
from speakerlab.scoring.plda import Plda, length_normalised, train_plda

DIM = 4


def covariance(seed: int, scale: float) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((DIM, DIM))
    return scale * (root @ root.T / DIM + 0.2 * np.eye(DIM))


def model() -> Plda:
    return Plda(np.array([1.0, -2.0, 0.5, 3.0]), covariance(1, 2.0), covariance(2, 0.5))


def draw(truth: Plda, counts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(len(counts)), counts)
    voices = generator.multivariate_normal(np.zeros(DIM), truth.between, len(counts))
    return truth.mean + voices[speakers] + generator.multivariate_normal(
        np.zeros(DIM), truth.within, len(speakers)
    ), speakers


def test_a_known_model_is_recovered():
    truth = model()
    embeddings, speakers = draw(truth, np.random.default_rng(5).integers(1, 12, 6000))
    found, likelihoods = train_plda(embeddings, speakers, 30)
    assert np.linalg.norm(found.within - truth.within) < 0.03 * np.linalg.norm(truth.within)
    assert np.linalg.norm(found.between - truth.between) < 0.06 * np.linalg.norm(truth.between)
    np.testing.assert_allclose(found.mean, truth.mean, atol=0.1)
    assert (np.diff(likelihoods) > -1e-9).all() and likelihoods[-1] > likelihoods[0]


def test_the_likelihood_is_that_of_all_a_speakers_utterances_together():
    truth = model()
    embeddings, speakers = draw(truth, np.array([1, 3, 2, 2, 4]))

    def naive(between: np.ndarray, within: np.ndarray) -> float:
        total = 0.0
        for speaker in range(5):
            own = (embeddings - embeddings.mean(axis=0))[speakers == speaker]
            joint = np.kron(np.ones((len(own), len(own))), between) + np.kron(np.eye(len(own)), within)
            total += multivariate_normal(np.zeros(len(joint)), joint).logpdf(own.ravel())
        return total / len(embeddings) + 0.5 * DIM * np.log(2 * np.pi)

    found, _ = train_plda(embeddings, speakers, 3, floor=1e-12)
    _, likelihoods = train_plda(embeddings, speakers, 4, floor=1e-12)
    assert naive(found.between, found.within) == pytest.approx(likelihoods[3], rel=1e-9)  # the fourth starts there


@pytest.mark.parametrize("trials", [1, 5000])
def test_scores_are_ratios_of_densities(trials):
    truth = model()
    embeddings, _ = draw(truth, np.full(10, 2))
    enrol, test = np.random.default_rng(3).integers(0, 20, (2, trials))
    found = truth.scores(embeddings, enrol, test)
    total = truth.between + truth.within
    same = multivariate_normal(np.tile(truth.mean, 2), np.block([[total, truth.between], [truth.between, total]]))
    alone = multivariate_normal(truth.mean, total)
    for row in range(min(trials, 60)):
        a, b = embeddings[enrol[row]], embeddings[test[row]]
        expected = same.logpdf(np.concatenate([a, b])) - alone.logpdf(a) - alone.logpdf(b)
        assert found[row] == pytest.approx(expected, abs=1e-9)


def test_ratios_of_its_own_data_are_calibrated():
    truth = model()
    embeddings, speakers = draw(truth, np.full(300, 2))
    generator = np.random.default_rng(1)
    enrol = np.arange(600)
    test = np.where(generator.random(600) < 0.5, enrol ^ 1, generator.permutation(600))
    labels = (speakers[enrol] == speakers[test]).astype(int)
    scores = truth.scores(embeddings, enrol, test)
    assert cllr(scores, labels) < 1.15 * min_cllr(error_rates(scores, labels)) + 0.02


def test_lengths_are_normalised():
    embeddings, _ = draw(model(), np.full(10, 2))
    found = length_normalised(embeddings, embeddings.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.sqrt(DIM))


@pytest.mark.parametrize(
    "speakers, message",
    [([0, 1, 2, 3], "one with two utterances"), ([0] * 4, "4 of 1"), ([0, 0], "a speaker for each")],
)
def test_too_little_is_refused(speakers, message):
    with pytest.raises(InputError, match=message):
        train_plda(np.eye(4), speakers)
