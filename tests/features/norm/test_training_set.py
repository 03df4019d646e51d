import pytest
import torch

from speakerlab.features.norm.training_set import TrainingSetNorm


@pytest.mark.parametrize("channels", [1, 2])
def test_statistics_of_all_batches(channels):
    shape = (4, 9, 3) if channels == 1 else (4, channels, 9, 3)
    batches = [torch.randn(shape) * scale + 5 for scale in (1.0, 3.0)]
    norm = TrainingSetNorm(3, channels)
    norm.fit(iter(batches))
    rows = torch.cat(batches).double().movedim(-2, 1).flatten(0, 1)  # (frames of all, [channels,] 3)
    expected = (torch.cat(batches).double().movedim(-2, 1) - rows.mean(0)) / rows.std(0, unbiased=False)
    torch.testing.assert_close(norm(torch.cat(batches)).movedim(-2, 1).double(), expected, atol=1e-4, rtol=1e-4)
    again = TrainingSetNorm(3, channels)
    again.load_state_dict(norm.state_dict())
    assert torch.equal(again.mean, norm.mean)


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no features"):
        TrainingSetNorm(3).fit([])
