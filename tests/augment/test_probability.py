import pytest

from speakerlab.augment.probability import check_probability


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_legal_values_come_back(probability):
    assert check_probability(probability) == probability


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_illegal_values_are_named(probability):
    with pytest.raises(ValueError, match=r"probability=.*\[0, 1\]"):
        check_probability(probability)
