import numpy as np
import pytest
import scipy.stats
import torch

from speakerlab.augment.mixup import Mixup, mix, partners


def test_weights_are_beta_distributed_and_a_pure_function_of_the_generator():
    weights = [float(Mixup(0.4).draw(np.random.default_rng(seed))) for seed in range(2000)]
    assert weights[7] == Mixup(0.4).draw(np.random.default_rng(7))
    assert scipy.stats.kstest(weights, scipy.stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_batches_that_are_spared_are_not_mixed():
    weights = np.array([Mixup(1.0, 0.3).draw(np.random.default_rng(seed)) for seed in range(2000)])
    assert abs((weights < 1).mean() - 0.3) < 0.04
    x = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mix(x, torch.tensor(1.0)), x)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_items_are_mixed_with_their_partners(batch):
    x = torch.randn(batch, 4, 3, generator=torch.Generator().manual_seed(0))
    order = partners(torch.arange(batch))
    assert sorted(order.tolist()) == list(range(batch)) and (batch == 1 or (order != torch.arange(batch)).all())
    expected = torch.stack([0.7 * x[i] + 0.3 * x[order[i]] for i in range(batch)])
    torch.testing.assert_close(mix(x, torch.tensor(0.7)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(mix(x, torch.tensor(0.7)), expected)


def test_utterances_of_a_speaker_side_by_side_are_not_partners():
    speakers = torch.arange(8).repeat_interleave(4)
    assert (partners(speakers) != speakers).all()


@pytest.mark.parametrize("argument", [{"alpha": 0}, {"alpha": float("nan")}, {"probability": 1.1}])
def test_bad_arguments_are_named(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        Mixup(**argument)
