"""Means of checkpoints, and which epochs are taken."""

import pytest
import torch

from speakerlab import InputError
from speakerlab.training.averaging import average, choose


@pytest.fixture
def run(tmp_path):
    """Five kept epochs, of which four were measured."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "metrics").mkdir()
    for epoch in range(1, 6):
        generator = torch.Generator().manual_seed(epoch)
        weights = {
            "network.weight": torch.randn(4, 3, generator=generator),
            "network.half": torch.randn(7, generator=generator).to(torch.bfloat16),
            "network.count": torch.tensor(10 * epoch),
        }
        contents = {"config": {"epoch": epoch}, "speakers": ["a", "b"], "state_dict": weights, "epoch": epoch}
        contents["left_out"] = {"first": 3}
        torch.save(contents | {"optimizer_states": [1]}, tmp_path / "checkpoints" / f"epoch_{epoch:03d}.ckpt")
    rows = ["epoch,step,eer", "1,10,0.3", "2,20,0.1", "4,40,0.2", "5,50,0.1"]
    (tmp_path / "metrics" / "val_metrics.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def epochs(paths) -> list[int]:
    return [int(path.stem[-3:]) for path in paths]


@pytest.mark.parametrize(
    "last, best, expected",
    [(1, None, [5]), (3, None, [3, 4, 5]), (5, None, [1, 2, 3, 4, 5]), (None, 1, [5]), (None, 3, [2, 4, 5])],
)
def test_the_last_or_the_best_epochs_are_taken(run, last, best, expected):
    """Of two equally good ones, the later first."""
    assert epochs(choose(run, last, best)) == expected


@pytest.mark.parametrize(
    "last, best, message",
    [
        (6, None, "6 epochs are asked for; 5 are kept$"),
        (None, 5, "5 are asked|4 are kept and measured"),
        (0, None, "0"),
    ],
)
def test_more_than_there_are_is_refused(run, last, best, message):
    with pytest.raises(InputError, match=message):
        choose(run, last, best)


def test_a_run_that_kept_nothing_says_how(tmp_path):
    with pytest.raises(InputError, match="callbacks.checkpoints.every_epoch=true"):
        choose(tmp_path, 2, None)


def test_it_is_the_mean(run):
    paths = choose(run, 3, None)
    states = [torch.load(path, weights_only=True)["state_dict"] for path in paths]
    found = average(paths)
    for name in ("network.weight", "network.half"):
        expected = sum(state[name].double().numpy() for state in states) / 3
        assert found["state_dict"][name].dtype == states[0][name].dtype
        tolerance = 1e-2 if "half" in name else 1e-6
        assert abs(found["state_dict"][name].double().numpy() - expected).max() < tolerance
    assert found["state_dict"]["network.count"] == 50
    assert found["config"] == {"epoch": 5} and found["left_out"] == {"first": 3} and "optimizer_states" not in found


def test_other_networks_are_refused(run):
    path = run / "checkpoints" / "epoch_004.ckpt"
    contents = torch.load(path, weights_only=True)
    contents["state_dict"]["network.weight"] = torch.zeros(4, 4)
    torch.save(contents, path)
    with pytest.raises(InputError, match=r"epoch_004.ckpt: another network or other speakers than .*epoch_003.ckpt"):
        average(choose(run, 3, None))
