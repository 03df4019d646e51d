"""Statistics of speakers, against loops."""

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.scoring.speaker_statistics import floored, speaker_means, speaker_statistics

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((9, 3)) + 2
SPEAKERS = np.array(["b", "a", "b", "c", "a", "b", "b", "a", "c"])


def test_a_loop_over_speakers():
    found = speaker_statistics(X, SPEAKERS)
    assert found.counts.tolist() == [3, 4, 2]
    scatter = np.zeros((3, 3))
    for number, name in enumerate("abc"):
        own = [row for row, speaker in zip(X, SPEAKERS, strict=True) if speaker == name]
        mean = sum(own) / len(own)
        np.testing.assert_allclose(found.means[number], mean)
        for row in own:
            scatter += np.outer(row - mean, row - mean)
    np.testing.assert_allclose(found.scatter, scatter)
    np.testing.assert_allclose(found.within, scatter / 9)
    np.testing.assert_allclose(found.mean, X.mean(axis=0))


def test_means_of_numbered_speakers():
    found = speaker_means(X, np.array([1, 0, 1, 2, 0, 1, 1, 0, 2]))
    np.testing.assert_allclose(found, speaker_statistics(X, SPEAKERS).means)


def test_no_variance_is_below_the_floor():
    values = np.linalg.eigvalsh(floored(np.diag([4.0, 2.0, 0.0]), 0.1))
    np.testing.assert_allclose(values, [0.2, 2.0, 4.0])
    assert np.linalg.eigvalsh(floored(np.zeros((2, 2)), 0.1)).min() > 0


@pytest.mark.parametrize(
    "speakers, message",
    [([0, 1, 2, 3], "one with two utterances"), ([0] * 4, "4 of 1"), ([0, 0], "a speaker for each")],
)
def test_too_little_is_refused(speakers, message):
    with pytest.raises(InputError, match=message):
        speaker_statistics(np.eye(4), speakers)
