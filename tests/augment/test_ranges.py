import pytest

from speakerlab.augment.ranges import check_range


@pytest.mark.parametrize("values", [[1, 2], [2, 2], [-3, 4.5]])
def test_a_range_within_its_bounds_is_given_back(values):
    assert check_range("x", values, -5, 5) == tuple(values)


@pytest.mark.parametrize("values", [[2, 1], [1], [1, 2, 3], [float("nan"), 1], [0, float("inf")], [-6, 0], [0, 6]])
def test_others_are_named(values):
    with pytest.raises(ValueError, match=r"gain_db=\[.*low <= high, within -5 to 5"):
        check_range("gain_db", values, -5, 5)
