"""The chain of steps, against the same steps written out."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring.backend import Averaged, Backend, train_backend
from speakerlab.scoring.discriminants import train_lda, train_wccn
from speakerlab.scoring.plda import train_plda

GENERATOR = np.random.default_rng(1)
SPEAKERS = np.repeat(np.arange(15), 6)
X = 3 + GENERATOR.standard_normal((15, 5))[SPEAKERS] + 0.6 * GENERATOR.standard_normal((90, 5))
NEW = 3 + GENERATOR.standard_normal((4, 5))


def products(backend: Backend) -> np.ndarray:
    """Scores of all pairs of `NEW`."""
    left, right = backend.sides(NEW)
    return left @ right.T


def cosines(x: np.ndarray) -> np.ndarray:
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in x] for a in x])


def test_nothing_is_a_cosine():
    np.testing.assert_allclose(products(Backend()), cosines(NEW))
    np.testing.assert_allclose(products(train_backend(X, SPEAKERS)), cosines(NEW))


def test_centred():
    found = train_backend(X, SPEAKERS, subtract_mean=True)
    np.testing.assert_allclose(products(found), cosines(NEW - X.mean(axis=0)))


@pytest.mark.parametrize("subtract_mean", [False, True])
def test_lda_then_wccn_then_a_cosine(subtract_mean):
    mean = X.mean(axis=0) if subtract_mean else np.zeros(5)
    lda = train_lda(X - mean, SPEAKERS, 3)
    wccn = train_wccn((X - mean) @ lda, SPEAKERS)
    found = train_backend(X, SPEAKERS, subtract_mean=subtract_mean, lda=3, wccn=True)
    np.testing.assert_allclose(products(found), cosines((NEW - mean) @ lda @ wccn))
    alone = train_backend(X, SPEAKERS, subtract_mean=subtract_mean, wccn=True)
    np.testing.assert_allclose(products(alone), cosines((NEW - mean) @ train_wccn(X - mean, SPEAKERS)))


@pytest.mark.parametrize("dim", [None, 3])
def test_centring_then_lda_then_lengths_then_plda(dim):
    mean = X.mean(axis=0)
    lda = np.eye(5) if dim is None else train_lda(X - mean, SPEAKERS, dim)
    out = lda.shape[1]

    def prepared(x: np.ndarray) -> np.ndarray:
        y = (x - mean) @ lda
        return np.stack([row / np.sqrt(sum(row**2)) * np.sqrt(out) for row in y])

    model, _ = train_plda(prepared(X), SPEAKERS)
    enrol, test = (side.ravel() for side in np.meshgrid(range(4), range(4), indexing="ij"))
    expected = model.scores(prepared(NEW), enrol, test).reshape(4, 4)
    found = train_backend(X, SPEAKERS, "plda", lda=dim)
    np.testing.assert_allclose(products(found), expected, rtol=1e-9, atol=1e-9)


def test_the_type_of_embeddings_is_kept_for_cosines():
    found = train_backend(X.astype(np.float32), SPEAKERS, subtract_mean=True, wccn=True)
    assert found.sides(NEW.astype(np.float32))[0].dtype == np.float32


def test_averages_are_scored_as_they_are():
    left, right = Averaged().sides(NEW)
    np.testing.assert_array_equal(left @ right.T, NEW @ NEW.T)
    broken = NEW.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="1 of 4 embeddings are NaN or infinite; the first is row 2"):
        Averaged().sides(broken)


@pytest.mark.parametrize("kind", ["cosine", "plda"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_unusable_embeddings_are_named(kind, value):
    broken = NEW.copy()
    broken[3, 0] = value
    with pytest.raises(InputError, match="1 of 4 embeddings are zero, NaN or infinite; the first is row 3"):
        train_backend(X, SPEAKERS, kind, subtract_mean=True).sides(broken)


def test_another_kind_is_refused():
    with pytest.raises(InputError, match="back end 'pdla' must be one of cosine, plda"):
        train_backend(X, SPEAKERS, "pdla")
