"""What is counted over a stretch of training, and the end of a diverged one."""

import pytest
import torch
from ranks import on_ranks
from torch import nn

from speakerlab import InputError
from speakerlab.training.progress import Sums, check_finite, epoch_line


def step(loss: float, accuracy: float | None, items: int) -> dict:
    share = None if accuracy is None else torch.tensor(accuracy)
    return {"batch_loss": torch.tensor(loss), "accuracy": share, "items": items}


def test_means():
    sums = Sums()
    sums.add(step(2.0, 0.5, 4), waited=1.0, seconds=2.0, ranks=2)
    sums.add(step(4.0, 1.0, 2), waited=0.0, seconds=2.0, ranks=2)
    assert sums.means() == {
        "loss": 3.0,
        "accuracy": 0.75,
        "utterances_per_second": 3.0,  # 12 items of both ranks in 4 s
        "data_wait_share": 0.25,
    }
    again = Sums(**sums.plain())
    again.add(step(6.0, 0.0, 4), waited=0.0, seconds=0.0, ranks=2)
    assert again.means()["loss"] == 4.0 and again.means()["accuracy"] == 0.5


def test_a_loss_without_logits_has_no_accuracy():
    sums = Sums()
    sums.add(step(1.0, None, 4), waited=0.0, seconds=1.0, ranks=1)
    assert "accuracy" not in sums.means()
    assert epoch_line(1, 2, sums.means(), {}) == "epoch 1/2  loss 1.000  4.0 utterances/s"


def _means(rank: int, _: None) -> dict:
    sums = Sums()
    sums.add(step(1.0 + rank, 0.5 * rank, 4 + rank), waited=0.0, seconds=1.0, ranks=2)
    return sums.mean_over_ranks().plain()


def test_ranks_are_averaged(tmp_path):
    expected = {"loss": 1.5, "accuracy": 0.25, "batches": 1, "items": 9, "waited": 0, "seconds": 1}
    assert on_ranks(tmp_path, _means, None) == [expected, expected]


def test_a_diverged_run_stops_and_an_overflow_does_not():
    system = nn.Linear(2, 2)
    nan = torch.tensor(float("nan"))
    check_finite(system, torch.tensor(1.0))
    check_finite(system, nan)  # fp16 skips such a step
    system.weight.data[0, 0] = nan
    with pytest.raises(InputError, match=r"training diverged.*lower optimizer\.lr"):
        check_finite(system, nan)
