"""LDA against scikit-learn, WCCN against what it is for."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from speakerlab import InputError
from speakerlab.scoring.discriminants import train_lda, train_wccn


def voices(speakers: int = 12, dim: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings about their speakers' means, with unequal counts and unequal variances that are not independent."""
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.arange(speakers), generator.integers(5, 30, speakers))
    mixing = generator.standard_normal((dim, dim)) * np.linspace(0.3, 3, dim)
    means = generator.standard_normal((speakers, dim)) @ generator.standard_normal((dim, dim))
    return means[classes] + generator.standard_normal((len(classes), dim)) @ mixing + 5, classes


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_lda_is_that_of_scikit_learn(dim):
    x, speakers = voices()
    ours = (x - x.mean(axis=0)) @ train_lda(x, speakers, dim)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=dim).fit(x, speakers).transform(x)
    theirs = theirs - theirs.mean(axis=0)
    # The sign of a direction and a common factor of all mean nothing.
    signs = np.sign(np.sum(ours * theirs, axis=0))
    np.testing.assert_allclose(ours / ours.std(), signs * theirs / theirs.std(), rtol=1e-4, atol=1e-6)


def test_within_a_speaker_each_discriminant_varies_by_one():
    x, speakers = voices()
    projected = x @ train_lda(x, speakers, 4)
    about = np.concatenate([projected[speakers == s] - projected[speakers == s].mean(axis=0) for s in range(12)])
    np.testing.assert_allclose(about.T @ about / len(about), np.eye(4), atol=1e-5)


@pytest.mark.parametrize("dim", [0, 8, 100])
def test_too_many_discriminants_are_refused(dim):
    with pytest.raises(InputError, match=f"lda={dim} must be 1 to 7"):
        train_lda(*voices(), dim)
    with pytest.raises(InputError, match="lda=4 must be 1 to 3 for embeddings of 7 numbers and 4 speakers"):
        train_lda(*voices(speakers=4), 4)


def test_wccn_makes_the_covariance_within_speakers_one():
    x, speakers = voices()
    y = x @ train_wccn(x, speakers)
    within = np.zeros((7, 7))
    for speaker in range(12):
        for row in y[speakers == speaker]:
            difference = row - y[speakers == speaker].mean(axis=0)
            within += np.outer(difference, difference) / len(y)
    np.testing.assert_allclose(within, np.eye(7), atol=1e-4)


def test_directions_without_variance_do_not_blow_up():
    x, speakers = voices()
    flat = np.hstack([x, np.zeros((len(x), 2))])
    assert np.isfinite(flat @ train_wccn(flat, speakers)).all()
    assert np.isfinite(flat @ train_lda(flat, speakers, 5)).all()
