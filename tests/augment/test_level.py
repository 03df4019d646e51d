import numpy as np
import pytest
import torch

from speakerlab.augment.level import match_level, root_mean_square


@pytest.mark.parametrize("level", [1e-37, 1e-20, 1e-5, 1.0, 1e15])
def test_rms_is_that_of_float64_at_any_level(level):
    x = torch.randn(3, 32000, generator=torch.Generator().manual_seed(0)) * level
    expected = np.sqrt(np.mean(x.double().numpy() ** 2, axis=1, keepdims=True))
    np.testing.assert_allclose(root_mean_square(x).double().numpy(), expected, rtol=1e-5)


def test_silence_has_level_zero():
    assert root_mean_square(torch.zeros(2, 5)).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("level", [1e-30, 1e-4, 1.0])
def test_levels_are_matched_whatever_they_are(level):
    generator = torch.Generator().manual_seed(0)
    x, reference = (torch.randn(3, 8000, generator=generator) * scale for scale in (level, 0.02))
    x[1] = 0
    matched = match_level(x, reference).double()
    torch.testing.assert_close(matched[[0, 2]] / matched[[0, 2], :1], x[[0, 2]].double() / x[[0, 2], :1].double())
    rms = matched.square().mean(dim=1).sqrt() / reference.double().square().mean(dim=1).sqrt()
    torch.testing.assert_close(rms, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64), atol=1e-5, rtol=0)
