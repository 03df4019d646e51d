"""When a model is measured, and where the numbers go."""

import csv
from types import SimpleNamespace
from typing import ClassVar

import pytest

from speakerlab.training.development import DevelopmentLog


def trainer(folder, epoch: int = 0, step: int = 0, rank: int = 0) -> SimpleNamespace:
    place = {"current_epoch": epoch, "max_epochs": 7, "global_step": step, "is_global_zero": rank == 0}
    place |= {"max_steps": -1, "should_stop": False}
    return SimpleNamespace(default_root_dir=str(folder), logger=Logger(), callback_metrics={}, **place)


class Logger:
    """Keeps what it is given."""

    rows: ClassVar[list] = []

    def log_metrics(self, metrics: dict, step: int) -> None:
        self.rows.append((step, metrics))


@pytest.mark.parametrize("every, due", [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (0, [7]), (10, [7])])
def test_due_after_some_epochs_and_the_last(tmp_path, every, due):
    record = DevelopmentLog(("eer",), every)
    assert [epoch + 1 for epoch in range(7) if record.is_due(trainer(tmp_path, epoch))] == due


@pytest.mark.parametrize("ending", [{"should_stop": True}, {"max_steps": 20}])
def test_due_where_something_else_ends_the_training(tmp_path, ending):
    running = trainer(tmp_path, epoch=2, step=20)
    assert not DevelopmentLog(("eer",), 0).is_due(running)
    vars(running).update(ending)
    assert DevelopmentLog(("eer",), 0).is_due(running)


def test_the_first_rank_writes(tmp_path):
    Logger.rows.clear()
    module = SimpleNamespace()
    for rank in (0, 1):
        record = DevelopmentLog(("accuracy", "error_rate"), 1)
        record.open(trainer(tmp_path, rank=rank))
        for epoch in range(2):
            measured = {"accuracy": 0.25 * epoch, "error_rate": 1 - 0.25 * epoch, "utterances": 4}
            record.keep(trainer(tmp_path, epoch, 10 * epoch, rank), module, measured)
    assert module.development_metrics == {"accuracy": 0.25, "error_rate": 0.75}
    assert Logger.rows[:2] == Logger.rows[2:]  # Lightning's own logger is silent on other ranks than the first
    assert Logger.rows[1] == (10, {"val/accuracy": 0.25, "val/error_rate": 0.75})
    with open(tmp_path / "metrics" / "val_metrics.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["epoch", "step", "accuracy", "error_rate"], ["1", "0", "0.0", "1.0"], ["2", "10", "0.25", "0.75"]]
    DevelopmentLog(("accuracy", "error_rate"), 1).open(trainer(tmp_path, step=5))  # resumed from before the last row
    with open(tmp_path / "metrics" / "val_metrics.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 2
