"""Cosine scores against a loop over trials."""

import math

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring.cosine import cosine_scores

RNG = np.random.default_rng(0)
EMBEDDINGS = 3 * RNG.normal(size=(20, 7)) + 1
ENROL, TEST = RNG.integers(0, 20, (2, 101))


def naive_cosines(embeddings, mean):
    scores = []
    for first, second in zip(ENROL, TEST):
        a, b = embeddings[first] - mean, embeddings[second] - mean
        dot = sum(x * y for x, y in zip(a, b))
        scores.append(dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)))
    return scores


@pytest.mark.parametrize("block", [1, 10, 101, 65536])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_equals_the_naive_loop(block, dtype):
    scores = cosine_scores(EMBEDDINGS.astype(dtype), ENROL, TEST, block)
    assert scores.dtype == (np.float64 if dtype == np.float64 else np.float32)
    tolerance = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 2e-3}[dtype]
    np.testing.assert_allclose(scores, naive_cosines(EMBEDDINGS, 0), atol=tolerance)


def test_subtracts_the_mean():
    mean = EMBEDDINGS.mean(axis=0)
    before = EMBEDDINGS.copy()
    scores = cosine_scores(EMBEDDINGS, ENROL, TEST, mean=mean)
    np.testing.assert_allclose(scores, naive_cosines(EMBEDDINGS, mean), atol=1e-12)
    np.testing.assert_array_equal(EMBEDDINGS, before)


def test_never_leaves_the_range_of_a_cosine():
    rows = np.arange(20)
    for scale in (1e-15, 1.0, 1e15):
        scores = cosine_scores((scale * EMBEDDINGS).astype(np.float32), rows, rows)
        assert (scores <= 1).all()
        np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_no_trials_no_scores():
    assert cosine_scores(EMBEDDINGS, [], []).shape == (0,)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_unusable_embeddings_are_named(value):
    broken = EMBEDDINGS.copy()
    broken[[4, 9]] = value
    with pytest.raises(InputError, match="2 of 20 embeddings .* row 4"):
        cosine_scores(broken, ENROL, TEST)


def test_an_embedding_equal_to_the_mean_is_named():
    with pytest.raises(InputError, match="1 of 20 embeddings .* row 3"):
        cosine_scores(EMBEDDINGS, ENROL, TEST, mean=EMBEDDINGS[3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"enrol": [0, -1], "test": [0, 0]}, "enrol names rows -1 to 0"),
        ({"enrol": [0, 1], "test": [0, 20]}, "rows 0 to 20; the embeddings have rows 0 to 19"),
        ({"enrol": [0, 1], "test": [0]}, "enrol has 2 rows and test has 1"),
        ({"enrol": [0.5], "test": [0]}, "enrol must be a list of row numbers"),
        ({"enrol": [0], "test": [0], "block": 0}, "block=0"),
        ({"enrol": [0], "test": [0], "mean": [1.0]}, "mean has the shape"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        cosine_scores(EMBEDDINGS, **arguments)
    with pytest.raises(InputError, match="embeddings must have the shape"):
        cosine_scores(EMBEDDINGS[0], [0], [0])
