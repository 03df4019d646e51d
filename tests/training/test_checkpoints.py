"""Writing checkpoints so that a kill or a full disk loses nothing."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from speakerlab import InputError
from speakerlab.training import checkpoints
from speakerlab.training.checkpoints import AtomicCheckpointIO, Checkpoints, link


def contents(value: float) -> dict:
    return {"state_dict": {"w": torch.full((100,), value)}, "config": {"seed": 1}, "speakers": ["a", "b"], "epoch": 3}


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(contents(2.0), path)
    found = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(found.pop("state_dict")["w"], torch.full((100,), 2.0))
    assert found == {"config": {"seed": 1}, "speakers": ["a", "b"], "epoch": 3}
    assert names(path.parent) == ["last.ckpt"]


@pytest.mark.parametrize("failing", ["save", "fsync", "replace"])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(contents(1.0), path)

    def full_disk(*arguments, **options):
        if failing == "save":
            Path(arguments[1]).write_bytes(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch if failing == "save" else os, failing, full_disk)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint(contents(2.0), path)
    monkeypatch.undo()
    assert AtomicCheckpointIO().load_checkpoint(path)["state_dict"]["w"][0] == 1.0
    assert names(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize("every_minutes", [0.0, -1.0, float("nan")])
def test_an_interval_that_is_none(every_minutes):
    with pytest.raises(ValueError, match="every_minutes=.* must be positive"):
        Checkpoints(every_minutes=every_minutes)


def test_a_full_disk_in_a_line(tmp_path, monkeypatch):
    """What torch says then is "[enforce fail at inline_container.cc:664] ... unexpected pos 256 vs 142"."""

    def full_disk(contents, path):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 256 vs 142")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match=r"last\.ckpt: the checkpoint can't be written \(\d+ MB are free there\)"):
        AtomicCheckpointIO().save_checkpoint(contents(1.0), tmp_path / "last.ckpt")
    assert names(tmp_path) == []


def test_the_file_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []

    def spy(name):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *arguments: (calls.append(name), real(*arguments))[1])

    spy("fsync")
    spy("replace")
    AtomicCheckpointIO().save_checkpoint(contents(1.0), tmp_path / "last.ckpt")
    assert calls == ["fsync", "replace", "fsync"]  # file, rename, folder


class Foreign:
    def __reduce__(self):
        return os.mkdir, ("never",)


@pytest.mark.parametrize("weights_only", [True, False, None])
def test_foreign_code_never_runs(tmp_path, monkeypatch, weights_only):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Foreign()}, tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=weights_only)
    assert names(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize("hard_links", [True, False])
def test_link_replaces(tmp_path, monkeypatch, hard_links):
    source, target = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    source.write_text("new")
    target.write_text("old")
    (tmp_path / "other.ckpt").hardlink_to(target)  # what shares the old contents keeps them
    if not hard_links:

        def refuse(*arguments):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", refuse)
    link(source, target)
    assert target.read_text() == source.read_text() == "new"
    assert (tmp_path / "other.ckpt").read_text() == "old"
    assert target.samefile(source) == hard_links
    assert names(tmp_path) == ["best.ckpt", "last.ckpt", "other.ckpt"]
    AtomicCheckpointIO().save_checkpoint(contents(1.0), target)
    assert source.read_text() == "new"  # a new checkpoint does not write through the link


class Trainer:
    """As much of Lightning's as `Checkpoints` touches; its checkpoints hold the epoch."""

    accumulate_grad_batches = 2
    num_training_batches = 10
    world_size = 1
    is_global_zero = True

    def __init__(self, folder):
        self.default_root_dir = str(folder)
        self.current_epoch = 0
        self.saved = []

    @property
    def logger(self):
        return self

    @property
    def experiment(self):
        return self

    def flush(self):
        self.saved.append("flushed")

    def save_checkpoint(self, path, weights_only):
        assert self.saved.pop() == "flushed"  # what was logged before a checkpoint is not logged again
        assert not weights_only
        self.saved.append(path.name)
        path.parent.mkdir(exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(str(self.current_epoch + 1))
        draft.replace(path)


class Module:
    def __init__(self):
        self.development_metrics = {}


def finish_epochs(callback: Checkpoints, trainer: Trainer, eers: list[float | None]) -> dict[str, str]:
    """What each file holds after epochs with these error rates."""
    module = Module()
    callback.on_train_start(trainer, module)
    for epoch, eer in enumerate(eers):
        trainer.current_epoch = epoch
        module.development_metrics = {} if eer is None else {"eer": eer}
        callback.on_train_epoch_end(trainer, module)
    return {path.name: path.read_text() for path in Path(trainer.default_root_dir, "checkpoints").iterdir()}


def test_best_and_last(tmp_path):
    files = finish_epochs(Checkpoints(), Trainer(tmp_path), [0.4, 0.2, None, 0.2, 0.3])
    assert files == {"best.ckpt": "2", "last.ckpt": "5"}


def test_each_epoch_when_asked(tmp_path):
    files = finish_epochs(Checkpoints(every_epoch=True), Trainer(tmp_path), [0.4, None, 0.3])
    numbered = {f"epoch_{epoch:03d}.ckpt": str(epoch) for epoch in (1, 2, 3)}
    assert files == {**numbered, "best.ckpt": "3", "last.ckpt": "3"}


def test_the_best_so_far_survives_a_resume(tmp_path):
    first = Checkpoints()
    finish_epochs(first, Trainer(tmp_path), [0.4, 0.2])
    resumed = Checkpoints()
    resumed.load_state_dict(first.state_dict())
    assert (resumed.best_error, resumed.best_epoch) == (0.2, 2)
    files = finish_epochs(resumed, Trainer(tmp_path), [0.3, 0.3, 0.3])
    assert files == {"best.ckpt": "2", "last.ckpt": "3"}


def test_the_clock_saves_between_whole_steps(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    callback, trainer, module = Checkpoints(every_minutes=1.0), Trainer(tmp_path), Module()
    callback.on_train_start(trainer, module)
    saved_after = []
    for batch in range(10):
        clock[0] += 25.0
        before = len(trainer.saved)
        callback.on_train_batch_end(trainer, module, None, {}, batch)
        saved_after += [batch] * (len(trainer.saved) - before)
    # Due from 60 s on, after an even number of batches (accumulation), and not at the epoch's own end.
    assert saved_after == [3, 7] and set(trainer.saved) == {"last.ckpt"}


@pytest.mark.parametrize("minutes", [0.0, -1.0])
def test_bad_intervals_are_refused(minutes):
    with pytest.raises(ValueError, match=f"every_minutes={minutes} must be positive"):
        Checkpoints(every_minutes=minutes)


def test_the_best_identification_has_the_lowest_error_rate(tmp_path):
    callback, trainer, module = Checkpoints(), Trainer(tmp_path), Module()
    callback.on_train_start(trainer, module)
    for epoch, error in enumerate([0.9, 0.3, 0.6]):
        trainer.current_epoch = epoch
        module.development_metrics = {"accuracy": 1 - error, "macro_f1": 1 - error, "error_rate": error}
        callback.on_train_epoch_end(trainer, module)
    assert (tmp_path / "checkpoints" / "best.ckpt").read_text() == "2" and callback.best_error == 0.3
