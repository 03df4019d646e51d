import pytest
import torch
from torchaudio.functional import compute_deltas

from speakerlab.features.deltas import deltas, stack_deltas


@pytest.mark.parametrize("shape", [(3, 9, 4), (3, 2, 9, 4)])
@pytest.mark.parametrize("lengths", [None, [9, 1, 4]])
def test_torchaudio_of_each_items_own_frames(shape, lengths):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = deltas(features, None if lengths is None else torch.tensor(lengths))
    for row, length in enumerate(lengths or [9] * 3):
        expected = compute_deltas(features[row, ..., :length, :].transpose(-1, -2)).transpose(-1, -2)
        torch.testing.assert_close(found[row, ..., :length, :], expected, atol=1e-6, rtol=0)


def test_stacking():
    features = torch.randn(2, 7, 3)
    first, second = deltas(features), deltas(deltas(features))
    assert torch.equal(stack_deltas(features, None, 2, "dim"), torch.cat([features, first, second], dim=2))
    assert torch.equal(stack_deltas(features, None, 2, "channels"), torch.stack([features, first, second], dim=1))
    assert stack_deltas(features, None, 0, "channels") is features
