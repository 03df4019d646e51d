import numpy as np
import pytest

from speakerlab.augment.speed import SpeedPerturbation


def drawn_by(speed, count=3000):
    draws = [speed.draw(np.random.default_rng(seed)) for seed in range(count)]
    return {draw: draws.count(draw) / count for draw in set(draws)}


def test_each_speed_comes_as_often_and_has_a_voice_of_its_own():
    speed = SpeedPerturbation([0.9, 1.0, 1.1])
    assert speed.suffixes == ("", " x0.9", " x1.1")
    shares = drawn_by(speed)
    assert shares.keys() == {(0.9, 1), (1.0, 0), (1.1, 2)}
    np.testing.assert_allclose(list(shares.values()), 1 / 3, atol=0.03)


def test_without_new_speakers_the_label_stays():
    speed = SpeedPerturbation([0.95, 1.05], new_speakers=False)
    assert speed.suffixes == ("",) and drawn_by(speed).keys() == {(0.95, 0), (1.05, 0)}


@pytest.mark.parametrize(
    "factors, message",
    [([], "at least one"), ([1.0, 3.0], "0.5 to 2"), ([1.0, 1], "must differ"), ([0.9, 1.1], "must include 1.0")],
)
def test_bad_factors_are_named(factors, message):
    with pytest.raises(ValueError, match=rf"factors=.*{message}"):
        SpeedPerturbation(factors)
