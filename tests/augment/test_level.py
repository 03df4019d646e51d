import numpy as np
import pytest
import torch

from speakerlab.augment.level import root_mean_square


@pytest.mark.parametrize("level", [1e-37, 1e-20, 1e-5, 1.0, 1e15])
def test_rms_is_that_of_float64_at_any_level(level):
    x = torch.randn(3, 32000, generator=torch.Generator().manual_seed(0)) * level
    expected = np.sqrt(np.mean(x.double().numpy() ** 2, axis=1, keepdims=True))
    np.testing.assert_allclose(root_mean_square(x).double().numpy(), expected, rtol=1e-5)


def test_silence_has_level_zero():
    assert root_mean_square(torch.zeros(2, 5)).tolist() == [[0.0], [0.0]]
