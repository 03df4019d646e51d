"""The penalty against a loop."""

import pytest
import torch

from speakerlab.losses.inter_top_k import check_top_k, penalise_nearest


@pytest.mark.parametrize("count", [0, 1, 3, 8, 100])
def test_the_nearest_others_are_penalised(count):
    cosine = torch.rand(20, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    columns = torch.arange(20) % 9
    found = penalise_nearest(cosine, columns, count, lambda nearest: nearest + 5.0)
    for i in range(20):
        others = sorted((j for j in range(9) if j != columns[i]), key=lambda j: -cosine[i, j])
        for j in range(9):
            assert found[i, j] == cosine[i, j] + (5.0 if j in others[:count] else 0.0)


def test_gradients_pass_through_the_penalty():
    cosine = torch.tensor([[0.9, 0.5, 0.3, 0.1]], requires_grad=True)
    penalise_nearest(cosine, torch.tensor([0]), 2, lambda nearest: 3.0 * nearest).sum().backward()
    assert cosine.grad.tolist() == [[1.0, 3.0, 3.0, 1.0]]


@pytest.mark.parametrize(
    "count, margin, message",
    [(-1, 0.1, "top_k=-1 must be at least 0"), (5, -0.1, "top_k_margin=-0.1 must lie"), (5, 1.5, "top_k_margin=1.5")],
)
def test_bad_settings_are_refused(count, margin, message):
    with pytest.raises(ValueError, match=message):
        check_top_k(count, margin)
