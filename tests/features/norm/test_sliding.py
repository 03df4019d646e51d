"""Against a loop over frames, and torchaudio's Kaldi-like function."""

import pytest
import torch
from torchaudio.functional import sliding_window_cmn

from speakerlab.features.norm.sliding import SlidingNorm


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("window", [5, 6, 11, 40])
@pytest.mark.parametrize("lengths", [None, [23, 3, 12]])
def test_a_loop_over_frames(window, variance, lengths):
    features = 2.0 * torch.randn(3, 2, 23, 4, generator=torch.Generator().manual_seed(0)) + 9.0
    if lengths is not None:
        for row, length in zip(features, lengths, strict=True):
            row[:, length:] = float("nan")
    normed = SlidingNorm(window, variance)(features, None if lengths is None else torch.tensor(lengths))
    for row, length in enumerate(lengths or [23] * 3):
        own = features[row, :, :length].double()
        for t in range(length):
            first = max(min(t - window // 2, length - window), 0)
            around = own[:, first : first + window]
            expected = own[:, t] - around.mean(1)
            if variance:
                expected = expected / around.var(1, unbiased=False).clamp(min=1e-7).sqrt()
            torch.testing.assert_close(normed[row, :, t].double(), expected, atol=1e-4, rtol=1e-4)


def test_it_is_kaldis():
    features = torch.randn(2, 50, 4)
    expected = sliding_window_cmn(features, cmn_window=20, center=True)
    torch.testing.assert_close(SlidingNorm(20)(features), expected, atol=1e-5, rtol=0)


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="window=0"):
        SlidingNorm(0)
