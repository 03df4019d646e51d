"""Measures of a trial, against a loop."""

import numpy as np

from speakerlab.scoring.quality import quality_columns


def test_the_lower_and_the_higher_side():
    seconds, size = np.array([2.0, 8.0, 5.0]), np.array([1.0, 0.5, 0.7])
    enrol, test = np.array([0, 1, 2, 2]), np.array([1, 0, 2, 1])
    found = quality_columns({"duration": seconds, "magnitude": size}, enrol, test)
    assert list(found) == ["duration_low", "duration_high", "magnitude_low", "magnitude_high"]
    for row, (a, b) in enumerate(zip(enrol, test, strict=True)):
        assert found["duration_low"][row] == min(seconds[a], seconds[b])
        assert found["duration_high"][row] == max(seconds[a], seconds[b])
        assert found["magnitude_low"][row] == min(size[a], size[b])
        assert found["magnitude_high"][row] == max(size[a], size[b])
